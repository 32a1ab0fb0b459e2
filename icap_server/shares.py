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
    those of others: it may have as many as are still free, and so several clients together
    never have all (dynamic thresholds; Choudhury and Hahne 1998).

    Args:
        limit: responses at most.
        of_client: of one client at most; 0 for no limit of a client's at all.
        monitor: is told of clients that have too many, and when the last place is taken.
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
            free = self._limit - self._all + 1
        of_client = bool(key) and self._of_client > 0 and mine > min(self._of_client, max(1, free))
        if of_client:
            self._monitor.met(
                "client-responses-used-up",
                f"a client has {mine - 1} responses under way, and {max(0, free)} more may be: "
                "more are refused to it",
            )
        elif free == 1:
            # What comes now waits in the proxy, and is not seen here.
            self._monitor.met("connections-used-up", self.said)
        return Share(free > 0 and not of_client, of_client, partial(self._give_back, key))

    def _give_back(self, key: bytes) -> None:
        with self._lock:
            self._all -= 1
            self._by_client[key] -= 1
            if not self._by_client[key]:
                del self._by_client[key]
