"""The way of an answer to the client, which may take it slowly."""

from __future__ import annotations

import select
import socket
import ssl
import threading
import time
from typing import Final

from inkgate.icap_server.protocol.answers import VERSION

_FLUSH_BYTES: Final = 64 * 1024
_NOT_WRITABLE: Final = (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError)
# A digit more of a chunk's size that is not complete yet changes nothing of the size.
_ZERO: Final = b"0"


class Output:
    """A file to write answers to: buffered, so that an answer is one packet where it can be.

    A proxy that hears nothing of its server for a second or three takes it for dead, so
    that nobody waits for one that is (`icap_io_timeout`). So while an answer is awaited or
    under way, `keep_alive` sends what comes next in any case: a byte of the version with
    which every answer begins, or a leading zero of the next chunk's size.

    Attributes:
        started: whether something of the answer has been written.
        waiting: bytes that the client has not taken yet.
    """

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._is_secure = isinstance(connected, ssl.SSLSocket)
        self._lock = threading.Lock()
        self._parts: list[bytes] = []
        self._size = 0
        self._pending = memoryview(b"")
        self._sent_of_version = 0
        self._is_awaited = False
        self._is_in_body = False
        self._last = 0.0
        self.started = False

    @property
    def waiting(self) -> int:
        """Bytes that the client has not taken yet."""
        return len(self._pending) + self._size

    def begin(self) -> None:
        """The client awaits an answer from now on."""
        with self._lock:
            self.started = self._is_in_body = False
            self._is_awaited = True
            self._sent_of_version = 0
            self._last = time.monotonic()

    def begin_body(self) -> None:
        """Chunks follow what was written."""
        self._is_in_body = True

    def end(self) -> None:
        """The answer is complete, or there will be no more of it."""
        with self._lock:
            self._is_awaited = self._is_in_body = False

    def write(self, data: bytes) -> None:
        """Take some bytes: all of a head, or whole chunks."""
        if not self.started:
            with self._lock:
                self.started = True
                self._is_awaited = False
            data = data[self._sent_of_version :]
        self._parts.append(data)
        self._size += len(data)

    @property
    def is_long(self) -> bool:
        """Whether enough was written to be worth a packet."""
        return self._size >= _FLUSH_BYTES

    def flush(self) -> None:
        """Send what was written, and wait for the client to take it.

        Raises:
            OSError: the client does not take it (TimeoutError), or is gone.
        """
        self._join()
        with self._lock:
            pending, self._pending = self._pending, memoryview(b"")
            self._last = time.monotonic()
            if pending:
                self._socket.sendall(pending)
                self._last = time.monotonic()

    def send_some(self) -> None:
        """Send of what was written what the client takes now.

        Raises:
            OSError: the client is gone.
        """
        self._join()
        with self._lock:
            while self._pending and self._is_writable():
                try:
                    sent = self._socket.send(self._pending[:_FLUSH_BYTES])
                except _NOT_WRITABLE:
                    return
                self._pending = self._pending[sent:]
                self._last = time.monotonic()

    def keep_alive(self, silence: float, *, is_parked: bool) -> None:
        """Send a byte if nothing was sent for so long and an answer is awaited or under way.

        Args:
            silence: in seconds.
            is_parked: no thread uses the connection.

        Raises:
            OSError: the client is gone.
        """
        # A TLS connection cannot be written to while a thread reads from it.
        if (self._is_secure and not is_parked) or not self._lock.acquire(blocking=False):
            return
        try:
            now = time.monotonic()
            if now - self._last < silence or self._pending:
                return
            byte = self._next_byte()
            if byte and self._is_writable():
                self._last = now
                self._socket.send(byte)
                self._sent_of_version += not self._is_in_body
        finally:
            self._lock.release()

    def _next_byte(self) -> bytes:
        if self._is_awaited:
            return VERSION[self._sent_of_version : self._sent_of_version + 1]
        return _ZERO if self._is_in_body and not self._size else b""

    def _join(self) -> None:
        if self._parts:
            self._pending = memoryview(b"".join((self._pending, *self._parts)))
            self._parts, self._size = [], 0

    def _is_writable(self) -> bool:
        poll = select.poll()
        poll.register(self._socket, select.POLLOUT)
        return bool(poll.poll(0))
