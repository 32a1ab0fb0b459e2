"""Groups, parties and whole aggregations in memory."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Sequence
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from inkgate.sightings.aggregation.group import AggregatorKeys, Group, default_threshold
from inkgate.sightings.aggregation.labels import Labels, label_of
from inkgate.sightings.aggregation.masked.masks import public_of
from inkgate.sightings.aggregation.protocol import Aggregator, Contributor, Totals
from inkgate.sightings.aggregation.registry import PROTOCOLS, protocol_of
from inkgate.sightings.aggregation.session import Session

PERIOD = "2026-01-05"
PROTOCOL_NAMES = [protocol.name for protocol in PROTOCOLS]


def identities(count: int) -> dict[str, Ed25519PrivateKey]:
    return {f"org-{n:03d}": Ed25519PrivateKey.generate() for n in range(count)}


def labels(count: int, serial: int = 7) -> Labels:
    return Labels(serial, (label_of(str(uuid.UUID(int=n))) for n in range(count)))


def aggregator_keys(signing: Ed25519PrivateKey, sealing: bytes) -> AggregatorKeys:
    public = signing.public_key().public_bytes_raw()
    return AggregatorKeys(signing=public.hex(), sealing=public_of(sealing).hex())


class Party:
    """A group with all its keys, and one session of it."""

    def __init__(
        self, protocol: str, subscribers: int, length: int, period: str = PERIOD, **settings: Any
    ) -> None:
        self.identities = identities(subscribers)
        keys = {n: k.public_key().public_bytes_raw().hex() for n, k in self.identities.items()}
        settings = {
            "threshold": default_threshold(subscribers), "quota_subscribers": 3, "name": "isac",
            **settings,
        }  # fmt: skip
        self.signing, self.sealing = Ed25519PrivateKey.generate(), os.urandom(32)
        aggregator = aggregator_keys(self.signing, self.sealing)
        self.group = Group(protocol=protocol, subscribers=keys, aggregator=aggregator, **settings)
        self.session = Session(self.group, period, labels(length))
        self.protocol = protocol_of(self.group)
        self.aggregator_key, self.dealt = self.sealing, dict[str, bytes]()
        if self.protocol.deal is not None:
            self.aggregator_key, self.dealt = self.protocol.deal(sorted(keys))
        self.secrets = {name: os.urandom(32) for name in keys}

    @property
    def names(self) -> list[str]:
        return sorted(self.identities)

    def contributor(self, name: str, session: Session | None = None) -> Contributor:
        key = self.dealt.get(name, self.secrets[name])
        return self.protocol.contributor(session or self.session, name, self.identities[name], key)

    def aggregator(self) -> Aggregator:
        return self.protocol.aggregator(self.session, self.aggregator_key)

    def run(
        self,
        vectors: dict[str, Sequence[int]],
        drops: dict[int, set[str]] | None = None,
        tamper: Callable[[int, str, bytes], bytes] = lambda _round, _name, message: message,
    ) -> Totals:
        """A whole aggregation; `drops` says who is not heard from a round on."""
        aggregator = self.aggregator()
        histories: dict[str, list[bytes]] = {name: [] for name in self.names}
        gone: set[str] = set()
        for number in range(len(aggregator.rounds)):
            gone |= (drops or {}).get(number, set())
            for name in histories.keys() - gone:
                answer = self.contributor(name).answer(histories[name], vectors[name])
                aggregator.accept(tamper(number, name, answer))
            sent = aggregator.close()
            histories = {n: [*h, sent[n]] for n, h in histories.items() if n in sent}
        return aggregator.totals()


def total_of(vectors: dict[str, Sequence[int]], without: Sequence[str] = ()) -> list[int]:
    kept = [vector for name, vector in vectors.items() if name not in without]
    return [sum(column) for column in zip(*kept, strict=True)]
