"""A server that answers whatever is asked with what it was given."""

from __future__ import annotations

import socket
import threading

from inkgate.squid_conf.ports import Port


class Answering:
    """A server that sends pieces, and waits between them."""

    def __init__(self, *pieces: bytes, pause: float = 0.0, endless: bool = False) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = Port("", "127.0.0.1", self._socket.getsockname()[1])
        self.ended = threading.Event()
        arguments = (pieces, pause, endless)
        threading.Thread(target=self._serve, args=arguments, daemon=True).start()

    def _serve(self, pieces: tuple[bytes, ...], pause: float, endless: bool) -> None:
        client, _ = self._socket.accept()
        with client:
            client.recv(65_536)
            try:
                for piece in pieces or (b"",):
                    client.sendall(piece)
                    self.ended.wait(pause)
                while endless and not self.ended.is_set():
                    client.sendall(b"x" * 4096)
            except OSError:
                pass

    def __enter__(self) -> Port:
        return self.port

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self._socket.close()
