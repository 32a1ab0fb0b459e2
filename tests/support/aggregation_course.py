"""Masked aggregations step by step, and what is inside their messages."""

from __future__ import annotations

import numpy
import pytest

from inkgate.sightings.aggregation.errors import AggregationError
from inkgate.sightings.aggregation.exchange.participant import Participant
from inkgate.sightings.aggregation.keystream import add_stream
from inkgate.sightings.aggregation.masked import masks
from inkgate.sightings.aggregation.masked.secret_sharing import combine_shares
from inkgate.sightings.aggregation.masked.subscriber import INPUT, KEYS, SHARES, UNMASK
from inkgate.sightings.aggregation.wire import (
    split_pairs,
    unseal,
)
from support.aggregation import Party

HUGE = 1 << 20


def refused(refusal: str) -> pytest.RaisesExc[AggregationError]:
    return pytest.raises(AggregationError, match=f"^{refusal}: ")


def body_of(kind: str, party: Party, message: bytes) -> bytes:
    return unseal(kind, party.session, message, most=HUGE)[1]


def shares_of(party: Party, name: str, message: bytes) -> bytes:
    """What a subscriber handed out, for the aggregator."""
    sealed = body_of(UNMASK, party, message)
    return masks.open_unmask(party.session.id, party.sealing, name, sealed)


class Course:
    """A masked aggregation, step by step, all of whose messages the aggregator keeps."""

    def __init__(self, party: Party, vectors: dict[str, list[int]]) -> None:
        self.party, self.vectors = party, vectors
        self.messages: list[dict[str, bytes]] = []
        self.sent: list[dict[str, bytes]] = []
        self.aggregator = party.aggregator()
        self.recorded: dict[str, Participant] = {}

    def answer(self, name: str, number: int, *histories: bytes) -> bytes:
        if name in self.recorded:
            received = self.sent[number - 1][name] if number else b""
            return self.recorded[name].answer(self.party.session, number, received)
        history = list(histories) or [sent[name] for sent in self.sent[:number]]
        return self.party.contributor(name).answer(history, self.vectors[name])

    def round(self, drops: set[str] = frozenset()) -> None:  # type: ignore[assignment]
        number = len(self.messages)
        there = self.sent[-1].keys() if self.sent else self.party.names
        self.messages.append({n: self.answer(n, number) for n in there if n not in drops})
        for message in self.messages[-1].values():
            self.aggregator.accept(message)
        self.sent.append(self.aggregator.close())

    def opened(self, holder: str, owner: str) -> bytes:
        """What a colluding holder knows of an owner's secrets."""
        party = self.party
        secrets = masks.Secrets(party.session.id, party.secrets[holder])
        keys = body_of(KEYS, party, self.messages[0][owner])
        sealed = split_pairs(body_of(SHARES, party, self.messages[1][owner]), most=999)
        shares = masks.open_shares(
            party.session.id, secrets.channel_key, keys[:32], owner, holder, sealed[holder]
        )
        assert shares
        return shares

    def unmasked(self, victim: str, mask_key: bytes, self_mask: bytes) -> list[int]:
        """The victim's counts, for somebody who knows both of its secrets."""
        party, session = self.party, self.party.session.id
        body = body_of(INPUT, party, self.messages[2][victim])
        vector = numpy.frombuffer(body, "<u8", offset=32).copy()
        keys = {n: body_of(KEYS, party, m)[32:] for n, m in self.messages[0].items()}
        for other in self.messages[1].keys() - {victim}:
            pair = masks.pair_mask(session, mask_key, victim, other, keys)
            add_stream(vector, pair, negative=other > victim)
        add_stream(vector, masks.self_mask(session, self_mask), negative=True)
        return list(vector.astype(numpy.int64))


def course(subscribers: int = 6, **settings: int) -> Course:
    party = Party("masked", subscribers, 5, **settings)
    vectors = {n: [(7 * i + j) % 9 for j in range(5)] for i, n in enumerate(party.names)}
    return Course(party, vectors)


def collude(run: Course, victim: str, colluders: list[str]) -> list[int] | None:
    """What an aggregator and colluding subscribers make of all that they have of a victim.

    They follow the rounds, then take the shares that they hold, and those that honest
    subscribers hand out for the self mask, which an aggregator is entitled to.
    """
    threshold = run.party.group.threshold
    holders = {run.party.names.index(n) + 1: run.opened(n, victim) for n in colluders}
    if len(holders) < threshold:
        return None
    chosen = dict(list(holders.items())[:threshold])
    mask_key = combine_shares({n: share[:32] for n, share in chosen.items()})
    self_mask = combine_shares({n: share[32:] for n, share in chosen.items()})
    return run.unmasked(victim, mask_key, self_mask)
