"""Turns by client: what waits is taken from each client's queue, one after the other.

So a client that asks for much waits for itself, and others wait for one of its requests
at a time.
"""

from __future__ import annotations

import ipaddress
from collections import deque
from collections.abc import Callable
from typing import Final, Generic, TypeVar

T = TypeVar("T")

UNKNOWN: Final = b""
"""The client of requests that do not tell theirs: one for all of them."""

_LONGEST_ADDRESS: Final = 45
_NETWORK_BITS: Final = 64


def client_of(field: bytes) -> bytes:
    """The client whose turn a request takes, from its address as Squid writes it.

    An IPv6 client may choose any address of its /64, so all of that is one client.
    """
    if b":" not in field:
        return field if len(field) <= _LONGEST_ADDRESS and field != b"-" else UNKNOWN
    try:
        address = ipaddress.IPv6Address(field[: _LONGEST_ADDRESS + 1].decode())
    except ValueError:
        return UNKNOWN
    if mapped := address.ipv4_mapped:
        return str(mapped).encode()
    return address.packed[: _NETWORK_BITS // 8]


class Turns(Generic[T]):
    """Queues of clients, of which each gives one item in its turn."""

    def __init__(self) -> None:
        # In the order of their turns; a client without items is not there.
        self._queues: dict[bytes, deque[T]] = {}

    def put(self, client: bytes, item: T) -> None:
        """Let an item wait behind the others of its client."""
        queue = self._queues.get(client)
        if queue is None:
            self._queues[client] = deque((item,))
        else:
            queue.append(item)

    def take(self, may: Callable[[bytes], bool] | None = None) -> tuple[bytes, T] | None:
        """The next item with its client; None if there is none.

        Args:
            may: asked for each client whose turn it is. One that may not keeps its turn.
        """
        for client in self._queues:
            if may is None or may(client):
                break
        else:
            return None
        queue = self._queues.pop(client)
        item = queue.popleft()
        if queue:
            self._queues[client] = queue
        return client, item

    def __bool__(self) -> bool:
        return bool(self._queues)
