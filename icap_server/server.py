"""pyicap's server with an event loop in front of its handlers.

The loop waits on all idle connections, reads heads, and answers the common message
itself. For any other message it gives the connection to a handler on a thread. The
handler may wait for its client: no other client waits with it. Then the connection comes
back to the loop.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import select
import socket
import ssl
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from pyicap import ICAPServer

from inkgate.icap_server.acceptor import Acceptor, Listener, NoDescriptorsError
from inkgate.icap_server.backlog import Backlog
from inkgate.icap_server.blocked import Blocked
from inkgate.icap_server.connection import Connection, Parked
from inkgate.icap_server.gate import Gate
from inkgate.icap_server.handler import InkgateHandler
from inkgate.icap_server.peers import Peers
from inkgate.icap_server.processes.spare_room import SpareRoom
from inkgate.icap_server.protocol import answers
from inkgate.icap_server.protocol.common_case import recognise
from inkgate.icap_server.protocol.errors import ProtocolError
from inkgate.icap_server.protocol.parser import IcapMessage
from inkgate.icap_server.service import Service
from inkgate.icap_server.settings import IcapSettings
from inkgate.icap_server.shares import Shares

_READ_BYTES: Final = 64 * 1024
_TICK_SECONDS: Final = 0.25
# After a silence of a second at the earliest Squid goes on without us (`icap_io_timeout`).
_STALLED_SECONDS: Final = 1.5
# A proxy hears something of a message at least so often.
_SILENCE_SECONDS: Final = 0.3
# Of connections that are all late at the same time so many are ended before the next look at
# those on which something came; that look waits at most so long.
_ENDED_AT_ONCE: Final = 4
_PAUSE_SECONDS: Final = 0.005
_MIB: Final = 1 << 20
_MAPPED: Final = "::ffff:"
# A handshake's steps never wait for the client, so few threads are enough for all.
_HANDSHAKE_THREADS: Final = 4
# Bodies whose encodings are undone at a time; a second one, since some of it is not Python.
_DECODING_THREADS: Final = 2
_NOT_READABLE: Final = (BlockingIOError, ssl.SSLWantReadError)
_NOT_WRITABLE: Final = (BlockingIOError, ssl.SSLWantWriteError)


class InkgateServer(ICAPServer):  # type: ignore[misc]
    """One worker's server.

    Args:
        listeners: where clients come from.
        service: gives the verdicts.
        settings: section `[icap]`.
        blocked: what users get.
        limit: connections at most.
        spare_room: tells the other workers whether there is room here, and asks them.
    """

    def __init__(
        self,
        listeners: Sequence[Listener],
        service: Service,
        settings: IcapSettings,
        blocked: Blocked,
        limit: int,
        spare_room: SpareRoom,
    ) -> None:
        # Without pyicap's constructor: that binds a socket, and this server inherits its
        # sockets, of which there may be two.
        self.settings = settings
        self.service = service
        self._watcher = service.watcher
        self._hot = service.hot
        self.blocked = blocked
        self.backlog = Backlog(settings.backlog_mib * _MIB // settings.workers, service.monitor)
        self.shares = Shares(
            min(
                settings.connections_of("RESPMOD"),
                max(1, limit - settings.connections_of("REQMOD")),
            ),
            settings.client_responses,
            service.monitor,
        )
        self.decoding = Gate(_DECODING_THREADS)
        self._limit = limit
        self._allowed = [ipaddress.ip_network(n) for n in settings.allow]
        self._peers = Peers(settings.allow_users)
        self._poll = select.epoll()
        self._acceptor = Acceptor(self._poll, listeners, spare_room)
        self._waiting: dict[int, Connection] = {}
        self._busy: set[Connection] = set()
        self._parked: dict[int, Connection] = {}
        self._returned: deque[Connection] = deque()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._threads = ThreadPoolExecutor(limit, "icap")
        self._handshakes = ThreadPoolExecutor(_HANDSHAKE_THREADS, "tls")
        self._stop_at: float | None = None
        self._last_tick = 0.0
        self._late: list[Connection] = []

    def serve_forever(self, poll_interval: float = _TICK_SECONDS) -> None:
        """Serve until `shutdown` was called and what was under way is done."""
        self._poll.register(self._wake, select.EPOLLIN)
        self._acceptor.look_again(has_room=True)
        while not self._done():
            for fd, _ in self._poll.poll(_PAUSE_SECONDS if self._late else poll_interval):
                if (connection := self._waiting.get(fd)) is not None:
                    self._readable(connection)
                elif (connection := self._parked.get(fd)) is not None:
                    self._resume(connection)
                elif fd == self._wake:
                    self._take_back()
                elif fd in self._acceptor.listeners:
                    self._accept(self._acceptor.listeners[fd])
            self._tick()
            self._end_late_ones()

    def shutdown(self) -> None:
        """Stop: no new connections, no new messages. May be called in a signal handler."""
        if self._stop_at is None:
            self._stop_at = time.monotonic() + self.settings.stop_seconds
            os.eventfd_write(self._wake, 1)

    def server_close(self) -> None:
        """Close all connections and end the threads."""
        for connection in (*self._waiting.values(), *self._parked.values(), *self._busy):
            with contextlib.suppress(OSError):
                # close() alone would not wake up a thread that reads from the socket.
                connection.socket.shutdown(socket.SHUT_RDWR)
            connection.socket.close()
        for threads in (self._threads, self._handshakes):
            threads.shutdown(wait=False, cancel_futures=True)
        self._poll.close()
        self._peers.close()

    def _done(self) -> bool:
        if self._stop_at is None:
            return False
        self._acceptor.close()
        for connection in list(self._waiting.values()):
            if connection.parser.at_start and not connection.parser.buffer:
                self._close(connection)
        late = time.monotonic() > self._stop_at
        return late or not (self._waiting or self._parked or self._busy)

    def _tick(self) -> None:
        now = time.monotonic()
        if now - self._last_tick < _TICK_SECONDS:
            return
        if self._last_tick and now - self._last_tick > _STALLED_SECONDS:
            self.service.monitor.met(
                "worker-stalled", f"it did not run for {now - self._last_tick:.1f} s"
            )
        self._last_tick = now
        self._acceptor.look_again(has_room=self._has_room())
        self._late = [c for c in self._waiting.values() if c.deadline < now]
        self._tend_messages(now)

    def _end_late_ones(self) -> None:
        """End connections on which nothing came in time: a few before others are served again."""
        now = time.monotonic()
        ended, self._late = self._late[:_ENDED_AT_ONCE], self._late[_ENDED_AT_ONCE:]
        for connection in ended:
            # Since it was found late it may have been closed, or something may have come.
            if self._waiting.get(connection.socket.fileno()) is not connection:
                continue
            if connection.deadline >= now:
                continue
            if connection.parser.buffer or not connection.parser.at_start:
                connection.first = ProtocolError(408, "the head took too long")
                self._hand_over(connection)
            else:
                self._close(connection)

    def _tend_messages(self, now: float) -> None:
        for connection in list(self._parked.values()):
            if connection.parked is None or connection.parked.resume_at <= now:
                self._resume(connection)
            else:
                self._keep_alive(connection, is_parked=True)
        for connection in list(self._busy):
            self._keep_alive(connection, is_parked=False)

    def _keep_alive(self, connection: Connection, *, is_parked: bool) -> None:
        # Whoever goes on with the message meets the error.
        with contextlib.suppress(OSError, ValueError):
            connection.output.keep_alive(_SILENCE_SECONDS, is_parked=is_parked)

    def _accept(self, listener: Listener) -> None:
        if not self._has_room() and self._acceptor.leave_to_others():
            return
        try:
            taken = self._acceptor.accept(listener)
        except NoDescriptorsError:
            self.service.monitor.met(
                "connections-used-up",
                "no file descriptor is left for a connection: raise LimitNOFILE (ulimit -n), or "
                "lower [icap] connections",
            )
            self._acceptor.pause()
            return
        if taken is not None:
            self._greet(taken[0], str(taken[1][0]).removeprefix(_MAPPED), listener)

    def _greet(self, connected: socket.socket, peer: str, listener: Listener) -> None:
        if not self._is_allowed(peer):
            self.service.monitor.met(
                "peer-refused", f"{peer} is not among [icap] allow: its connection is closed"
            )
            connected.close()
            return
        try:
            refusal = self._peers.refusal(connected)
        except ConnectionResetError:
            connected.close()
            return
        if refusal:
            self.service.monitor.met(
                "peer-refused", f"{refusal}: not among [icap] allow_users; it is refused"
            )
            connected.close()
            return
        if self._is_full() and not self._make_room():
            self.service.monitor.met("connections-used-up", f"all {self._limit} are in use")
            _refuse(connected, listener)
            return
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connected.setblocking(False)
        connection = Connection(connected, peer, listener.context)
        # If there is a TLS handshake, it must end by then.
        connection.deadline = time.monotonic() + self.settings.header_seconds
        self._wait_for(connection)

    def _is_full(self) -> bool:
        return len(self._waiting) + len(self._parked) + len(self._busy) >= self._limit

    def _has_room(self) -> bool:
        # An idle connection can be closed in favour of a new one.
        return bool(self._waiting) or not self._is_full()

    def _is_allowed(self, peer: str) -> bool:
        address = ipaddress.ip_address(peer.partition("%")[0])
        return any(address in network for network in self._allowed)

    def _make_room(self) -> bool:
        # The connection that has been idle for longest. A server may close a persistent
        # connection between two messages (RFC 2616, section 8.1.4).
        longest = next(iter(self._waiting.values()), None)
        if longest is not None:
            self._close(longest)
        return longest is not None

    def _wait_for(self, connection: Connection) -> None:
        fd = connection.socket.fileno()
        if connection.context is None:
            connection.deadline = time.monotonic() + self.settings.idle_seconds
        self._waiting[fd] = connection
        self._poll.register(fd, select.EPOLLIN)

    def _readable(self, connection: Connection) -> None:
        if connection.context is not None:
            self._let_go(connection)
            self._handshakes.submit(self._shake_hands, connection)
            return
        try:
            data = connection.socket.recv(_READ_BYTES)
        except _NOT_READABLE:
            return
        except OSError:
            data = b""
        if not data:
            self._close(connection)
            return
        parser, rules = connection.parser, self._watcher.current
        if not parser.buffer and parser.at_start and rules is not None:
            common = recognise(data, agents=rules.has_agents)
            if (
                common is not None
                and common.end == len(data)
                and rules.is_clean(common.host, common.agent)
            ):
                self._answer(connection, rules.unmodified, close=common.close)
                self._hot.count_common(data)
                return
        parser.feed(data)
        self._advance(connection)

    def _answer(self, connection: Connection, data: bytes, *, close: bool) -> None:
        try:
            sent = connection.socket.send(data)
        except _NOT_WRITABLE:
            sent = 0
        except OSError:
            self._close(connection)
            return
        if sent < len(data):
            connection.unsent = data[sent:]
            self._hand_over(connection)
            return
        if close:
            self._close(connection)
            return
        fd = connection.socket.fileno()
        # To the end of the dictionary, whose first entry has been idle for longest.
        self._waiting[fd] = self._waiting.pop(fd)
        connection.deadline = time.monotonic() + self.settings.idle_seconds

    def _advance(self, connection: Connection) -> None:
        fresh = connection.deadline
        try:
            event = connection.parser.next()
        except ProtocolError as error:
            connection.first = error
        else:
            if not isinstance(event, IcapMessage):
                # From the first byte on. Each further byte must not extend the time, or
                # a client could keep a connection by sending one now and then.
                soon = time.monotonic() + self.settings.header_seconds
                connection.deadline = min(fresh, soon)
                return
            connection.first = event
        self._hand_over(connection)

    def _hand_over(self, connection: Connection) -> None:
        if isinstance(connection.first, IcapMessage):
            self._hot.count(connection.first)
        if connection.first is not None:
            connection.output.begin()
        self._let_go(connection)
        self._threads.submit(self._serve, connection)

    def _let_go(self, connection: Connection) -> None:
        fd = connection.socket.fileno()
        del self._waiting[fd]
        self._poll.unregister(fd)
        self._busy.add(connection)

    def _shake_hands(self, connection: Connection) -> None:
        try:
            connection.shake_hands()
        except ssl.SSLWantReadError:
            # `_end_late_ones` sees only connections that wait in the loop. A client that sends a
            # byte of its handshake before each tick is never among them, so the deadline
            # is checked here as well.
            connection.closing = time.monotonic() > connection.deadline
        except (OSError, ValueError):
            connection.closing = True
        self._give_back(connection)

    def _serve(self, connection: Connection) -> None:
        try:
            InkgateHandler(connection, connection.peer, self)
        except Exception as error:  # noqa: BLE001
            self._note(error, connection)
        self._give_back(connection)

    def _resume(self, connection: Connection) -> None:
        fd = connection.socket.fileno()
        del self._parked[fd]
        self._poll.unregister(fd)
        self._busy.add(connection)
        self._threads.submit(self._go_on, connection)

    def _go_on(self, connection: Connection) -> None:
        try:
            if connection.parked is not None:
                connection.parked.resume()
        except Exception as error:  # noqa: BLE001
            self._note(error, connection)
        self._give_back(connection)

    def _note(self, error: Exception, connection: Connection) -> None:
        self.service.monitor.met("message-failed", f"a connection failed: {type(error).__name__}")
        connection.parked = None
        connection.closing = True

    def _give_back(self, connection: Connection) -> None:
        self._returned.append(connection)
        os.eventfd_write(self._wake, 1)

    def _take_back(self) -> None:
        os.eventfd_read(self._wake)
        while self._returned:
            connection = self._returned.popleft()
            self._busy.discard(connection)
            if connection.parked is not None:
                self._park(connection, connection.parked)
            elif connection.closing:
                connection.socket.close()
            else:
                connection.socket.setblocking(False)
                self._wait_for(connection)
                if connection.parser.buffer:
                    self._advance(connection)
        if not self._acceptor.is_watching:
            self._acceptor.look_again(has_room=self._has_room())

    def _park(self, connection: Connection, parked: Parked) -> None:
        fd = connection.socket.fileno()
        self._parked[fd] = connection
        self._poll.register(fd, parked.resume_on)

    def _close(self, connection: Connection) -> None:
        fd = connection.socket.fileno()
        del self._waiting[fd]
        self._poll.unregister(fd)
        connection.socket.close()


def _refuse(connected: socket.socket, listener: Listener) -> None:
    connected.setblocking(False)
    try:
        if listener.context is None:
            connected.send(answers.overloaded())
    except OSError:
        pass
    finally:
        connected.close()
