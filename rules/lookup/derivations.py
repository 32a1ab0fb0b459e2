"""Values that requests wait for: each derived once, in turns by client (docs/decisions/0048).

Derivations that were handed over to threads are not taken back, so few are at a time, and of
one client only its share.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final, Generic, NamedTuple, Protocol, TypeVar

from inkgate.rules.crypto.derive import Unstretched
from inkgate.rules.lookup.derivers import Derivers
from inkgate.rules.lookup.stretching import CachedStretch
from inkgate.rules.lookup.turns import Turns

# So many derivations a thread are handed over before they are needed. More would be made
# even when the deadline of their request has passed; with fewer, threads wait for work.
_AHEAD: Final = 4
URGENT_SECONDS: Final = 0.1
"""A request that waits this long shows that other work keeps the processors busy. From then on
one more thread derives, at normal priority."""

Key = tuple[CachedStretch, Unstretched]


class Waiter(Protocol):
    """A request that may wait for values."""

    client: bytes
    """Whose turn it takes."""

    @property
    def is_waiting(self) -> bool:
        """False once its answer stands."""


W = TypeVar("W", bound=Waiter)


class Derived(NamedTuple, Generic[W]):
    """A derivation that has ended, and who waits for it; `stretched` is None if it failed."""

    value: Unstretched
    stretched: bytes | None
    waiters: list[W]


class _Value(Generic[W]):
    """A value that requests wait for.

    Attributes:
        clients: in whose queues it waits for its derivation.
        payer: in whose turn it was handed over, if it was.
    """

    __slots__ = ("clients", "payer", "waiters")

    def __init__(self) -> None:
        self.waiters: list[W] = []
        self.clients: set[bytes] = set()
        self.payer: bytes | None = None


class Derivations(Generic[W]):
    """Gives derivations to threads, one of each client in turn. For one thread at a time.

    Args:
        derivers: where they are made.
        threads: how many these are.
        client_share: part of those under way that may be one client's.
    """

    def __init__(self, derivers: Derivers, threads: int, client_share: float) -> None:
        self._derivers = derivers
        self._most = threads * _AHEAD
        self._most_of_one = max(1, round(self._most * client_share))
        self._wanted: dict[Key, _Value[W]] = {}
        self._turns: Turns[Key] = Turns()
        self._under_way: dict[Key, _Value[W]] = {}
        self._ahead_of: Counter[bytes] = Counter()

    def want(self, keys: CachedStretch, value: Unstretched, waiter: W) -> None:
        """Let a request wait for a value."""
        key = keys, value
        wanted = self._wanted.get(key)
        if wanted is None:
            wanted = self._wanted[key] = _Value()
        wanted.waiters.append(waiter)
        if wanted.payer is None and waiter.client not in wanted.clients:
            wanted.clients.add(waiter.client)
            self._turns.put(waiter.client, key)

    def hand_over(self) -> list[W]:
        """Give threads what they have room for.

        Returns:
            those who waited for values that nobody waits for any more.
        """
        dropped: list[W] = []
        while len(self._under_way) < self._most and (taken := self._turns.take(self._may)):
            client, key = taken
            wanted = self._wanted.get(key)
            if wanted is None or wanted.payer is not None:
                # It waited in another client's queue as well.
                continue
            if not any(waiter.is_waiting for waiter in wanted.waiters):
                dropped += self._wanted.pop(key).waiters
                continue
            wanted.payer = client
            self._under_way[key] = wanted
            self._ahead_of[client] += 1
            self._derivers.submit(*key)
        return dropped

    def result(self) -> Derived[W] | None:
        """One that has ended, if there is any."""
        result = self._derivers.result()
        if result is None:
            return None
        wanted = self._wanted.pop((result.keys, result.value))
        del self._under_way[result.keys, result.value]
        self._paid(wanted.payer)
        return Derived(result.value, result.stretched, wanted.waiters)

    @property
    def are_under_way(self) -> bool:
        """Whether threads have any."""
        return bool(self._under_way)

    def oldest(self, count: int) -> Iterator[W]:
        """Of those who wait for each value that threads have, the first ones."""
        for wanted in self._under_way.values():
            yield from wanted.waiters[:count]

    def _may(self, client: bytes) -> bool:
        """Whether one more may be handed over for a client."""
        return self._ahead_of[client] < self._most_of_one

    def _paid(self, client: bytes | None) -> None:
        """A derivation that was made in a client's turn has ended."""
        if client is not None:
            self._ahead_of[client] -= 1
            if not self._ahead_of[client]:
                del self._ahead_of[client]
