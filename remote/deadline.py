"""A deadline for a whole conversation, however many answers it has and however slow they are.

A timeout of a socket counts anew from every byte, so a server that sends one byte a second
never meets it. Here another thread shuts the sockets down when the time is over, which ends
whatever waits for them: a header, a handshake, a line of a chunk.
"""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from types import TracebackType
from typing import Final, Self
from weakref import WeakSet

from inkgate.remote.errors import OutOfTimeError

# A socket may be opened, or wrapped for TLS, at the very moment when the time is over.
_AGAIN_SECONDS: Final = 0.05


class Deadline:
    """The end of a conversation, counted from the beginning of a `with`.

    Args:
        seconds: how long it may take.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds
        self._over = threading.Event()
        self._done = threading.Event()
        self._lock = threading.Lock()
        self._sockets: WeakSet[socket.socket] = WeakSet()
        self._watcher = threading.Thread(target=self._watch, daemon=True, name="deadline")

    def __enter__(self) -> Self:
        self._end = time.monotonic() + self.seconds
        self._watcher.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._done.set()
        self._watcher.join()

    @property
    def is_over(self) -> bool:
        """Whether no time is left."""
        return self._over.is_set() or time.monotonic() >= self._end

    def left(self) -> float:
        """Seconds until the end.

        Raises:
            OutOfTimeError: there are none.
        """
        self.check()
        return max(self._end - time.monotonic(), 0.001)

    def check(self) -> None:
        """Go on only while there is time.

        Raises:
            OutOfTimeError: there is none.
        """
        if self.is_over:
            raise OutOfTimeError(f"did not answer in full within {self.seconds:g} s")

    def watch(self, connection: socket.socket) -> None:
        """Shut a socket down at the end. It is not kept open by this."""
        with self._lock:
            self._sockets.add(connection)
        if self._over.is_set():
            self._shut_down()

    def sleep(self, seconds: float) -> None:
        """Wait, but not beyond the end.

        Raises:
            OutOfTimeError: the end came first.
        """
        self._over.wait(min(seconds, self.left()))
        self.check()

    def break_off(self) -> None:
        """End now what is under way: somebody pressed Ctrl-C."""
        self._over.set()
        self._shut_down()

    def _watch(self) -> None:
        if self._done.wait(max(self._end - time.monotonic(), 0)):
            return
        self._over.set()
        self._shut_down()
        while not self._done.wait(_AGAIN_SECONDS):
            self._shut_down()

    def _shut_down(self) -> None:
        with self._lock:
            sockets = list(self._sockets)
        for connection in sockets:
            # The plain socket's own method: that of TLS takes its state away from the
            # thread that reads.
            with suppress(OSError):
                socket.socket.shutdown(connection, socket.SHUT_RDWR)
