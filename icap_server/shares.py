"""How many responses may be under way, of all clients and of each."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from inkgate.rules.lookup.turns import client_of

if TYPE_CHECKING:
    from inkgate.health.monitor import Monitor


class Share(NamedTuple):
    """What a response got.

    Attributes:
        is_whole: it may be checked.
        of_client: if not, it is its client that has too many.
        give_back: to be called once, at the response's end.
    """

    is_whole: bool
    of_client: bool
    give_back: Callable[[], None]


class Shares:
    """The responses under way in a worker. For many threads.

    A response takes a connection for as long as its client takes to load it. So responses
    leave some connections to requests, which are answered soon, and a client's leave some to
    those of others.

    Args:
        limit: responses at most.
        of_client: of one client at most; 0 for no such limit.
        monitor: is told of clients that have too many.
    """

    def __init__(self, limit: int, of_client: int, monitor: Monitor) -> None:
        self._limit = limit
        self._of_client = of_client
        self._monitor = monitor
        self._lock = threading.Lock()
        self._by_client: dict[bytes, int] = {}
        self._all = 0

    @property
    def said(self) -> str:
        """Why a response had to do without, for the log."""
        return f"all {self._limit} that are for responses are in use"

    def take(self, client: str) -> Share:
        """Count a response.

        Args:
            client: its client's address, or empty.
        """
        key = client_of(client.encode())
        with self._lock:
            self._all += 1
            mine = self._by_client.get(key, 0) + 1
            self._by_client[key] = mine
            is_whole = self._all <= self._limit
        of_client = bool(key) and 0 < self._of_client < mine
        if of_client:
            self._monitor.met(
                "client-responses-used-up",
                f"a client has {self._of_client} responses under way: more are refused to it",
            )
        return Share(is_whole and not of_client, of_client, partial(self._give_back, key))

    def _give_back(self, key: bytes) -> None:
        with self._lock:
            self._all -= 1
            self._by_client[key] -= 1
            if not self._by_client[key]:
                del self._by_client[key]
