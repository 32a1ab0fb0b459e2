"""How many requests may wait, how many bytes of them, and who gives way when all is full."""

from __future__ import annotations

from typing import Generic, TypeVar

T = TypeVar("T")


class _Load(Generic[T]):
    """What waits of one client, in the order in which it came."""

    __slots__ = ("bytes", "items")

    def __init__(self) -> None:
        self.items: dict[T, int] = {}
        self.bytes = 0


class WaitingRoom(Generic[T]):
    """Requests that wait, by client.

    While there is room a client may have all of it. When there is none, a client with more
    than its share gives way to others, its newest request first.

    Args:
        most: requests that may wait.
        most_bytes: bytes of them.
        share: part of either above which a client gives way.
    """

    def __init__(self, most: int, most_bytes: int, share: float) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._share = share
        self._loads: dict[bytes, _Load[T]] = {}
        self._heavy: set[bytes] = set()
        self.count = 0
        self.bytes = 0

    def has_room(self, size: int) -> bool:
        """Whether one more request, of so many bytes, may wait."""
        return self.count < self._most and self.bytes + size <= self._most_bytes

    def count_of(self, client: bytes) -> int:
        """How many requests of a client wait."""
        load = self._loads.get(client)
        return len(load.items) if load else 0

    def add(self, client: bytes, item: T, size: int) -> None:
        """Let a request wait."""
        load = self._loads.get(client)
        if load is None:
            load = self._loads[client] = _Load()
        load.items[item] = size
        load.bytes += size
        self.count += 1
        self.bytes += size
        if self._is_heavy(load):
            self._heavy.add(client)

    def remove(self, client: bytes, item: T) -> None:
        """A request waits no more; nothing happens if it did not."""
        load = self._loads.get(client)
        if load is None or item not in load.items:
            return
        size = load.items.pop(item)
        load.bytes -= size
        self.count -= 1
        self.bytes -= size
        if not self._is_heavy(load):
            self._heavy.discard(client)
        if not load.items:
            del self._loads[client]

    def is_heavy(self, client: bytes) -> bool:
        """Whether more than its share is a client's."""
        return client in self._heavy

    def gives_way(self, client: bytes) -> T | None:
        """The request that gives way to one of this client; None if it must go itself."""
        if client in self._heavy:
            return None
        heaviest = max(self._heavy, key=lambda c: len(self._loads[c].items), default=None)
        return None if heaviest is None else next(reversed(self._loads[heaviest].items))

    def _is_heavy(self, load: _Load[T]) -> bool:
        return (
            len(load.items) > self._share * self._most
            or load.bytes > self._share * self._most_bytes
        )
