"""A client's connection, as the event loop and the handlers pass it to each other."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import time
from collections.abc import Callable
from typing import Final, Protocol

from inkgate.icap_server.output import Output
from inkgate.icap_server.protocol.errors import ProtocolError
from inkgate.icap_server.protocol.parser import Event, IcapMessage, MessageParser

_READ_BYTES: Final = 64 * 1024


class Parked(Protocol):
    """A message that waits for its client without a thread."""

    resume_at: float
    """When it goes on without its client (monotonic seconds)."""
    resume_on: int
    """The events of epoll(7) at which it goes on."""

    def resume(self) -> None:
        """Go on as far as that is possible without waiting long."""


class Connection:
    """A socket with what has been read from it. Used by one thread at a time.

    Attributes:
        socket: blocking while a handler has it, non-blocking in the loop.
        peer: the client's address.
        parser: what has arrived and was not yet used.
        first: the next message, if the loop has already taken it out of the parser, or
            why there will be none.
        unsent: the end of an answer that the client has not yet taken.
        deadline: when the loop gives up waiting (monotonic seconds).
        context: for the handshake of TLS that is not yet done, or None.
        output: what is to be sent, and how far an answer has come.
        parked: goes on with a message that waits for its client without a thread, or None.
        share: gives back what the message counts for its client, once; None if nothing.
        closing: to be closed by the loop.
    """

    __slots__ = (
        "closing",
        "context",
        "deadline",
        "first",
        "output",
        "parked",
        "parser",
        "peer",
        "share",
        "socket",
        "unsent",
    )

    def __init__(
        self, connected: socket.socket, peer: str, context: ssl.SSLContext | None = None
    ) -> None:
        self.socket = connected
        self.peer = peer
        self.parser = MessageParser()
        self.first: IcapMessage | ProtocolError | None = None
        self.unsent = b""
        self.deadline = 0.0
        self.context = context
        self.output = Output(connected)
        self.parked: Parked | None = None
        self.share: Callable[[], None] | None = None
        self.closing = False

    def shake_hands(self) -> None:
        """Do of the handshake what can be done without waiting; `context` is None at its end.

        Raises:
            ssl.SSLWantReadError: more has to come.
            OSError, ValueError: there will be no TLS.
        """
        if self.context is not None:
            if not isinstance(self.socket, ssl.SSLSocket):
                self.socket = self.context.wrap_socket(
                    self.socket, server_side=True, do_handshake_on_connect=False
                )
            self.socket.do_handshake()
            self.output = Output(self.socket)
            self.context = None

    def event(self) -> Event:
        """The next event, waiting for it.

        Raises:
            ProtocolError: the client does not speak ICAP.
            TimeoutError: nothing came for too long.
            OSError: the connection is gone.
        """
        while (event := self.parser.next()) is None:
            self.receive()
        return event

    def receive(self) -> None:
        """Take some more of what the client sends, waiting for it.

        Raises:
            TimeoutError, OSError: as `event`.
        """
        data = self.socket.recv(_READ_BYTES)
        if not data:
            raise ConnectionResetError("the client is gone")
        self.parser.feed(data)

    def is_readable(self, seconds: float) -> bool:
        """Whether something can be read within so many seconds."""
        if isinstance(self.socket, ssl.SSLSocket) and self.socket.pending():
            return True
        poll = select.poll()
        poll.register(self.socket, select.POLLIN)
        return bool(poll.poll(seconds * 1000))

    def linger(self, seconds: float, limit: int) -> None:
        """Say that nothing more comes, and read what the client had on its way.

        Closed with input unread, a socket is reset, and the client may lose even what
        it was sent before (RFC 7230, section 6.6).
        """
        end = time.monotonic() + seconds
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)
            while limit > 0 and (left := end - time.monotonic()) > 0:
                self.socket.settimeout(left)
                data = self.socket.recv(_READ_BYTES)
                if not data:
                    return
                limit -= len(data)
