"""The listening sockets, and when a worker looks at them."""

from __future__ import annotations

import errno
import select
import socket
import ssl
import time
from collections.abc import Sequence
from typing import Any, Final

from inkgate.icap_server.processes.spare_room import SpareRoom

_PAUSE_SECONDS: Final = 1.0


class Listener:
    """A listening socket.

    Args:
        listening: bound and listening; shared with the other workers.
        context: for TLS, or None.
    """

    def __init__(self, listening: socket.socket, context: ssl.SSLContext | None = None) -> None:
        listening.setblocking(False)
        self.socket = listening
        self.context = context


class NoDescriptorsError(Exception):
    """No file descriptor is left for a connection: this process or the system has no more."""


class Acceptor:
    """Takes connections, or leaves them in the kernel's queue to the other workers.

    Args:
        poll: the loop's.
        listeners: where clients come from.
        spare_room: tells the other workers whether there is room here, and asks them.

    Attributes:
        listeners: by their descriptors.
    """

    def __init__(
        self, poll: select.epoll, listeners: Sequence[Listener], spare_room: SpareRoom
    ) -> None:
        self.listeners = {one.socket.fileno(): one for one in listeners}
        self._poll = poll
        self._spare_room = spare_room
        self._watched: list[int] = []
        self._paused_until = 0.0

    @property
    def is_watching(self) -> bool:
        """Whether connections are taken."""
        return bool(self._watched)

    def look_again(self, *, has_room: bool) -> None:
        """Look at the listening sockets, if this is the worker to do so.

        To be called a few times a second. The kernel wakes up one worker for a connection;
        if that one leaves it in the queue, another one finds it when it looks again.
        """
        if not self.listeners or time.monotonic() < self._paused_until:
            return
        self._unwatch()
        self._spare_room.announce(has_room=has_room)
        if has_room or not self._spare_room.is_elsewhere():
            self._watch()

    def leave_to_others(self) -> bool:
        """Stop looking if another worker has room; to be called when this one has none."""
        self._spare_room.announce(has_room=False)
        if not self._spare_room.is_elsewhere():
            return False
        self._unwatch()
        return True

    def pause(self) -> None:
        """Do not look for a second.

        A connection that cannot be taken stays in the queue, and the kernel would wake up
        the loop for it again and again.
        """
        self._paused_until = time.monotonic() + _PAUSE_SECONDS
        self._spare_room.announce(has_room=False)
        self._unwatch()

    def close(self) -> None:
        """Take no more connections."""
        self._spare_room.announce(has_room=False)
        self._unwatch()
        self.listeners.clear()

    def accept(self, listener: Listener) -> tuple[socket.socket, Any] | None:
        """The next connection with its peer's address; None if it is gone.

        Raises:
            NoDescriptorsError: it cannot be taken, and waits on.
        """
        try:
            return listener.socket.accept()
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                raise NoDescriptorsError from None
            # Another worker took it, or the client has closed it.
            return None

    def _watch(self) -> None:
        for fd in self.listeners:
            # Of the workers that wait for a client only one wakes up.
            self._poll.register(fd, select.EPOLLIN | select.EPOLLEXCLUSIVE)
            self._watched.append(fd)

    def _unwatch(self) -> None:
        while self._watched:
            self._poll.unregister(self._watched.pop())
