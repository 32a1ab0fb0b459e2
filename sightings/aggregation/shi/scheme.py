"""Protocol `shi`: Shi, Chan, Rieffel, Chow, Song, "Privacy-Preserving Aggregation of
Time-Series Data", NDSS 2011, as used by van de Kamp et al., WISCS 2016.

A dealer gives each subscriber a key and the aggregator one, all of them summing to zero. In a
session an indicator is a public point P; a subscriber sends P * key + G * count. The sum over
all subscribers and the aggregator's P * key is G * total. One round, and everybody must send.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from inkgate.sightings.aggregation.accepted import AcceptedMessages
from inkgate.sightings.aggregation.errors import AggregationError
from inkgate.sightings.aggregation.group import MAX_TOTAL
from inkgate.sightings.aggregation.protocol import LOWEST_TOTAL, Totals, believable, too_few
from inkgate.sightings.aggregation.session import Session
from inkgate.sightings.aggregation.shi import curve
from inkgate.sightings.aggregation.shi.discrete_log import logarithm
from inkgate.sightings.aggregation.shi.point_sums import PointSums
from inkgate.sightings.aggregation.wire import seal, unseal

ROUNDS: Final = ("shi-input",)
_SHIFT: Final = (
    1 - LOWEST_TOTAL
)  # added to every exponent: the identity, of exponent 0, has no encoding


def deal(subscribers: Sequence[str]) -> tuple[bytes, dict[str, bytes]]:
    """Setup: the aggregator's key, and a key for each subscriber; they sum to zero.

    Only the trusted dealer runs this, and must delete all keys after handing them out.
    """
    keys = {name: 1 + secrets.randbelow(curve.ORDER - 1) for name in subscribers}
    own = -sum(keys.values()) % curve.ORDER
    if own == 0:
        return deal(subscribers)
    return curve.scalar(own), {name: curve.scalar(key) for name, key in keys.items()}


class ShiContributor:
    """Encrypt.

    Args:
        session: the aggregation.
        name: this subscriber's.
        identity: its signing key.
        key: from the dealer.
    """

    def __init__(
        self, session: Session, name: str, identity: Ed25519PrivateKey, key: bytes
    ) -> None:
        self._session = session
        self._name = name
        self._identity = identity
        self._key = key

    def answer(self, history: Sequence[bytes], vector: Sequence[int]) -> bytes:  # noqa: ARG002
        """The encrypted counts (protocol.Contributor)."""
        session, key = self._session, self._key
        body = b"".join(
            curve.encode_point(
                # Adding 0 takes as long as adding any other count, so the time tells nothing.
                curve.hash_to_point(session.id, label).multiply(key).add(curve.scalar(count))
            )
            for label, count in zip(session.labels, vector, strict=True)
        )
        return seal(ROUNDS[0], session, self._name, body, self._identity)


class ShiAggregator:
    """AggregateDecrypt.

    Args:
        session: the aggregation.
        key: the aggregator's, from the dealer.
    """

    rounds = ROUNDS

    def __init__(self, session: Session, key: bytes) -> None:
        self._session = session
        self._key = key
        self._accepted = AcceptedMessages()
        self._sums = PointSums(len(session.labels), curve.base_times(_SHIFT))

    @property
    def expected(self) -> frozenset[str]:
        """Subscribers that have not sent yet (protocol.Aggregator)."""
        return frozenset(self._session.group.subscribers).difference(self._accepted.names())

    @property
    def most(self) -> int:
        """Bytes of a body (protocol.Aggregator)."""
        return curve.POINT_BYTES * len(self._session.labels)

    def accept(self, message: bytes) -> str:
        """Take one subscriber's message (protocol.Aggregator)."""
        sender, body = unseal(ROUNDS[0], self._session, message, most=self.most)
        if not self._accepted.is_new(sender, body):
            return sender
        if len(body) != self.most:
            raise AggregationError(
                "wrong-length", f"{sender} did not send one point an indicator", "drop it"
            )
        self._sums.add(body)
        self._accepted.add(sender, body)
        return sender

    def close(self) -> dict[str, bytes]:
        """Check that all have sent (protocol.Aggregator)."""
        need = len(self._session.group.subscribers)
        if self.expected:
            raise too_few(need - len(self.expected), need, "have sent (all must)")
        return {}

    def totals(self) -> Totals:
        """Decrypt (protocol.Aggregator)."""
        group, labels = self._session.group, self._session.labels
        count = len(group.subscribers)
        values = (self._decrypt(self._sums.sum(n), label) for n, label in enumerate(labels))
        found = [None if value is None else believable(value, count, group) for value in values]
        return Totals(contributors=count, values=found)

    def _decrypt(self, total: curve.Point | None, label: bytes) -> int | None:
        if total is None:
            return None
        own = curve.hash_to_point(self._session.id, label).multiply(self._key)
        point = curve.add_points((total, own))
        exponent = None if point is None else logarithm(point, MAX_TOTAL + _SHIFT)
        return None if exponent is None else exponent - _SHIFT
