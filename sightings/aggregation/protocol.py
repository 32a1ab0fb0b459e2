"""The interface of all protocols: rounds of messages, then totals.

A round begins with what the aggregator sends (nothing in round 0) and consists of one signed
message a subscriber. All state of a subscriber is its secret and the history of what the
aggregator sent, so that an answer can be made again after a crash.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, Protocol

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from inkgate.sightings.aggregation.errors import AggregationError
from inkgate.sightings.aggregation.group import MAX_TOTAL, Group
from inkgate.sightings.aggregation.session import Session

LOWEST_TOTAL: Final = -(1 << 14) + 1
"""The least total that is believed; only noise takes one below zero."""


class Totals(msgspec.Struct, frozen=True, kw_only=True):
    """What an aggregator learns.

    Attributes:
        contributors: how many subscribers are in the sums.
        values: a total for each label of the list; None where the sum is not plausible, because
            a subscriber submitted what no honest one does.
    """

    contributors: int
    values: list[int | None]


class Contributor(Protocol):
    """A subscriber's side of one aggregation."""

    def answer(self, history: Sequence[bytes], vector: Sequence[int]) -> bytes:
        """The signed message for the round that the length of the history says.

        Args:
            history: what the aggregator sent before each round after the first.
            vector: a count for each label, with the noise already in it.

        Raises:
            AggregationError: the aggregator sent what an honest one does not.
        """


class Aggregator(Protocol):
    """The aggregator's side of one aggregation."""

    @property
    def rounds(self) -> tuple[str, ...]:
        """The rounds' names, in order."""

    @property
    def expected(self) -> frozenset[str]:
        """Subscribers that may still be heard in this round."""

    @property
    def most(self) -> int:
        """Bytes that the body of a message of this round may have."""

    def accept(self, message: bytes) -> str:
        """Take a message of this round; returns its sender. The same message twice is one.

        Raises:
            AggregationError: it is refused, and nothing has changed.
        """

    def close(self) -> dict[str, bytes]:
        """End this round; returns what each subscriber gets before the next one.

        Raises:
            AggregationError: too few subscribers took part.
        """

    def totals(self) -> Totals:
        """The result, once the last round is closed."""


class AggregationProtocol(NamedTuple):
    """One protocol, as the table in registry.py has it.

    Attributes:
        name: as a group's description and `setup --protocol` have it.
        rounds: the rounds' names, in order; each is the kind of its round's messages.
        least_contributors: the fewest subscribers that a sum of a group can be of.
        contributor: makes a subscriber's side from a session, the subscriber's name, its
            signing key, and its secret: the key from the dealer if there is one, else
            32 random bytes of this session.
        aggregator: makes the aggregator's side from a session and the aggregator's
            secret: the key from the dealer if there is one, else its X25519 secret.
        deal: makes the aggregator's key and each subscriber's, by name, for subscribers'
            names; None if the protocol needs no dealer.
    """

    name: str
    rounds: tuple[str, ...]
    least_contributors: Callable[[Group], int]
    contributor: Callable[[Session, str, Ed25519PrivateKey, bytes], Contributor]
    aggregator: Callable[[Session, bytes], Aggregator]
    deal: Callable[[Sequence[str]], tuple[bytes, dict[str, bytes]]] | None


def believable(value: int, contributors: int, group: Group) -> int | None:
    """A total, or None if no honest subscribers can have made it."""
    highest = contributors * group.max_count
    if group.noise is not None:
        highest = min(MAX_TOTAL, highest - LOWEST_TOTAL)
    lowest = LOWEST_TOTAL if group.noise is not None else 0
    return value if lowest <= value <= highest else None


def check_counts(counts: Sequence[int], length: int, group: Group) -> None:
    """Refuse what an honest subscriber does not submit.

    Raises:
        AggregationError: the length is not the list's, or a count is out of range.
    """
    if len(counts) != length:
        raise AggregationError(
            "wrong-length", f"{len(counts)} counts for {length} indicators", "count again"
        )
    if any(not 0 <= count <= group.max_count for count in counts):
        raise AggregationError(
            "bad-count", f"a count is not between 0 and {group.max_count}", "count again"
        )


def too_few(have: int, need: int, what: str) -> AggregationError:
    """The error for a round with too few subscribers."""
    return AggregationError(
        "too-few", f"{have} subscribers {what}, {need} are needed", "this period gives no totals"
    )
