"""Few threads at a time do what takes long, those of each client in turn."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from inkgate.rules.lookup.turns import Turns


class Gate:
    """Lets threads through, a few at a time.

    Python runs one thread at a time, each for some milliseconds. With a hundred of them at
    work the event loop would wait for all others before it could take up a message.

    Args:
        at_once: threads that may be behind the gate.
    """

    def __init__(self, at_once: int) -> None:
        self._free = at_once
        self._lock = threading.Lock()
        self._waiting: Turns[threading.Event] = Turns()

    @contextlib.contextmanager
    def turn(self, client: bytes) -> Iterator[None]:
        """Wait for the turn of a client's thread.

        Args:
            client: as `client_of` tells it.
        """
        self._enter(client)
        try:
            yield
        finally:
            self._leave()

    def _enter(self, client: bytes) -> None:
        with self._lock:
            if self._free:
                self._free -= 1
                return
            mine = threading.Event()
            self._waiting.put(client, mine)
        mine.wait()

    def _leave(self) -> None:
        with self._lock:
            following = self._waiting.take()
            if following is None:
                self._free += 1
                return
        following[1].set()
