"""A TCP relay that does something in the middle of a conversation, or ends it there."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from typing import Self

from support.squid import free_port


class Relay:
    """Passes connections on to a port of 127.0.0.1.

    Args:
        target: that port.
        after: bytes from the server after which `action` is called, once.
        action: what happens then, before those bytes are passed on.
        cut: end all connections then.
    """

    def __init__(
        self, target: int, after: int, action: Callable[[], object] = lambda: None, *, cut: bool
    ) -> None:
        self._target = target
        self._left = after
        self._action = action
        self._cut = cut
        self.acted = False
        self.port = free_port()
        self._listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._target))
            threading.Thread(target=self._pump, args=(client, server), daemon=True).start()
            threading.Thread(target=self._answer, args=(server, client), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
        _end(source, target)

    def _answer(self, server: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(65536):
                self._left -= len(data)
                if self._left <= 0 and not self.acted:
                    self.acted = True
                    self._action()
                if self.acted and self._cut:
                    break
                client.sendall(data)
        _end(server, client)


def _end(*ends: socket.socket) -> None:
    for end in ends:
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
        end.close()
