"""How a handler reads a body: from what has come, or later, without a thread that waits."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NoReturn, Protocol

from inkgate.icap_server.connection import Connection
from inkgate.icap_server.output import Output
from inkgate.icap_server.protocol import answers
from inkgate.icap_server.protocol.chunks import End
from inkgate.icap_server.protocol.errors import ProtocolError
from inkgate.icap_server.protocol.parser import Event
from inkgate.icap_server.service import Service

if TYPE_CHECKING:
    from inkgate.icap_server.backlog import Backlog
    from inkgate.icap_server.blocked import Blocked
    from inkgate.icap_server.gate import Gate
    from inkgate.icap_server.settings import IcapSettings
    from inkgate.icap_server.shares import Shares

# A thread waits so long for the next piece of a body; then the loop waits for it.
_PIECE_SECONDS: Final = 0.05
# Of a body whose client is slow, so much is read ahead. Beyond it a piece is read now and
# then: a proxy that cannot write for a second breaks the message off (`icap_io_timeout`).
_READ_AHEAD_BYTES: Final = 256 << 10
_SLOW_PIECE_SECONDS: Final = 0.6


class ParkedError(Exception):
    """Nothing can be done for this message now; no thread is needed to wait for more."""


class ServerParts(Protocol):
    """What a handler uses of the server that it works for."""

    service: Service
    settings: IcapSettings
    blocked: Blocked
    backlog: Backlog
    shares: Shares
    decoding: Gate


class BodyReader:
    """The part of a handler that reads.

    Attributes:
        go_on: does the rest of the message; None while it may not be parked.
        resume_at: when a parked message goes on in any case (monotonic).
        resume_on: the events of epoll(7) at which it goes on sooner.
        patience: seconds without anything from or to the client.
        has_read: whether something of the body has been read.
    """

    server: ServerParts
    request: Connection
    connection: socket.socket
    wfile: Output
    go_on: Callable[[], None] | None
    eob: bool
    ieof: bool
    in_preview: bool

    def begin_reading(self) -> None:
        """Begin with a message."""
        self.go_on = None
        self.has_read = False
        self.patience: float = self.server.settings.body_seconds
        self.resume_at = self._slow_piece_at = 0.0
        self.resume_on = 0
        self._progress_at = time.monotonic()
        self._waiting = 0

    def read_chunk(self, until: float | None = None) -> bytes:
        """A piece of the body, empty at its end (or at the end of its preview).

        Args:
            until: when to go on without one (monotonic), if this message may be parked.

        Raises:
            ParkedError: there is none now; the message goes on in `go_on`.
        """
        if self.eob:
            return b""
        event = self.request.parser.next()
        if event is None:
            event = self._next_event(until)
        if isinstance(event, End):
            self.eob, self.ieof = True, event.ieof
            return b""
        self.has_read = True
        return event if isinstance(event, bytes) else b""

    def _next_event(self, until: float | None) -> Event:
        if self.go_on is None:
            # Sent before waiting, since the client can use what was written so far.
            self.wfile.flush()
            return self.request.event()
        while True:
            self.wfile.send_some()
            self._await_piece(until)
            self.request.receive()
            # A client that takes nothing is given up, whatever comes for it.
            if self.wfile.waiting <= _READ_AHEAD_BYTES:
                self._progress_at = time.monotonic()
            event = self.request.parser.next()
            if event is not None:
                return event

    def _await_piece(self, until: float | None) -> None:
        """Return when something can be read and should be.

        Raises:
            ParkedError: not now.
            TimeoutError: the client has neither sent nor taken anything for too long.
        """
        now = time.monotonic()
        backlog = self.server.backlog
        waiting = self.wfile.waiting
        backlog.note(self.request, waiting)
        if waiting > _READ_AHEAD_BYTES:
            if now < self._slow_piece_at:
                self.park(self._slow_piece_at, select.EPOLLOUT)
            self._slow_piece_at = now + _SLOW_PIECE_SECONDS
            if not backlog.has_room(waiting):
                raise ConnectionAbortedError("too much waits for this client")
            if not self.request.is_readable(0):
                self.park(self._slow_piece_at, select.EPOLLOUT)
        elif not self.request.is_readable(_PIECE_SECONDS):
            self.park(until, select.EPOLLIN | (select.EPOLLOUT if waiting else 0))

    def park(self, until: float | None, events: int) -> NoReturn:
        """Wait without a thread.

        Args:
            until: when to go on in any case; None for when patience is at its end.
            events: of epoll(7), at which to go on.

        Raises:
            ParkedError: always, but for a client that has done nothing for too long.
            TimeoutError: it has not.
        """
        now = time.monotonic()
        waiting = self.wfile.waiting
        if waiting < self._waiting:
            self._progress_at = now
        self._waiting = waiting
        if until is None:
            until = self._progress_at + self.patience
            if now >= until:
                raise TimeoutError
        self.resume_at = until
        self.resume_on = events
        raise ParkedError

    def read_chunk_until(self, end: float) -> bytes:
        """As `read_chunk`, but empty as well when nothing comes until a time (monotonic)."""
        left = end - time.monotonic()
        if left <= 0:
            self._progress_at = time.monotonic()
            return b""
        if self.go_on is not None:
            return self.read_chunk(end)
        # Here, with the whole `body_seconds`: if `read_chunk` ran out of time while it sends,
        # the rest of what it sends would be lost.
        self.wfile.flush()
        self.connection.settimeout(left)
        try:
            return self.read_chunk()
        except TimeoutError:
            return b""
        finally:
            self.connection.settimeout(self.server.settings.body_seconds)

    def cont(self) -> None:
        """Ask for what follows the preview, after its end has been read."""
        if self.ieof or not self.in_preview:
            raise ProtocolError(500, "nothing follows this preview")
        self.wfile.write(answers.CONTINUE)
        self.wfile.flush()
        # 100 is no answer yet: an error in the rest of the body can still be answered.
        self.wfile.begin()
        self.request.parser.continue_body()
        self.eob = self.in_preview = False
