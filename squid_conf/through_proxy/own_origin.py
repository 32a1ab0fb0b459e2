"""A web server of the check's own, which writes down what reaches it.

It listens on this machine's loopback addresses only, for the time of the check: once at the
port that is listed as the reply canary, once at the next one, which is not. Whoever asks for
another path than those that this check has made at random gets nothing: not the canary's body,
not a word that a check runs, and no line in what it writes down.
"""

from __future__ import annotations

import contextlib
import errno
import hmac
import secrets
import socket
import socketserver
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

CHECK_PATH: Final = "/inkgate-check/"
DIGEST_PATH: Final = "/digest"
_NONCE_BYTES: Final = 16
_GREETING: Final = b"This is the server of inkgate squid check.\n"
_MAX_BODY: Final = 64 * 1024
_TRIES: Final = 20
_WAIT_SECONDS: Final = 10.0
_AGAIN_SECONDS: Final = 0.2
_NO_IPV6: Final = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


class OwnOrigin:
    """Servers on one port of all loopback addresses; to be ended with `close`.

    Args:
        port: 0 for one that is free.
        body: what is sent for paths that end with DIGEST_PATH.

    Attributes:
        port: where it listens.
        prefix: with it begin the paths that are answered; random, for this server alone.

    Raises:
        OSError: somebody else listens there.
    """

    def __init__(self, port: int, body: bytes) -> None:
        self.prefix = f"{CHECK_PATH}{secrets.token_hex(_NONCE_BYTES)}-"
        self._seen: dict[str, int] = {}
        self._body = body
        self._servers = _listening(port)
        self.port = int(self._servers[0].server_address[1])
        for server in self._servers:
            server.own_origin = self
            threading.Thread(target=server.serve_forever, daemon=True).start()

    def knows(self, path: str) -> bool:
        """Whether a path is one of this check's."""
        return hmac.compare_digest(path[: len(self.prefix)].encode(), self.prefix.encode())

    def seen(self, path: str) -> int | None:
        """How many bytes of a body came for a path; None if nobody asked for it."""
        return self._seen.get(path)

    def note(self, path: str, body_bytes: int) -> None:
        """Write a request down."""
        self._seen[path] = body_bytes

    def content(self, path: str) -> bytes:
        """What is answered."""
        return self._body if path.endswith(DIGEST_PATH) else _GREETING

    def close(self) -> None:
        """Stop listening."""
        for server in self._servers:
            server.shutdown()
            server.server_close()


@contextlib.contextmanager
def own_origin(port: int, body: bytes) -> Iterator[OwnOrigin | None]:
    """A server for the time of a `with`; None if the port is taken.

    Another check may be using it: so it is waited for, for a while.
    """
    until = time.monotonic() + _WAIT_SECONDS
    while (made := _made(port, body)) is None and time.monotonic() < until:
        time.sleep(_AGAIN_SECONDS)
    try:
        yield made
    finally:
        if made is not None:
            made.close()


def _made(port: int, body: bytes) -> OwnOrigin | None:
    try:
        return OwnOrigin(port, body)
    except OSError:
        return None


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    timeout = 20
    server: Any

    def _answer(self) -> None:
        self.close_connection = True
        if not self.server.own_origin.knows(self.path):
            self.send_response(404)
            self.send_header("Content-Length", "0")
            self.send_header("Connection", "close")
            self.end_headers()
            return
        length = min(int(self.headers.get("Content-Length") or 0), _MAX_BODY)
        self.server.own_origin.note(self.path, len(self.rfile.read(length)))
        content = self.server.own_origin.content(self.path)
        self.send_response(200)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = _answer  # noqa: N815 (names that http.server looks for)

    def log_message(self, *_: Any) -> None:
        """Say nothing: the check says what it saw."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    own_origin: OwnOrigin

    def __init__(self, family: socket.AddressFamily, host: str, port: int) -> None:
        self.address_family = family
        super().__init__((host, port), _Handler)

    def server_bind(self) -> None:
        """Bind, without asking DNS for a name of the address, as http.server does."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]  # type: ignore[assignment]


def _listening(port: int) -> list[_Server]:
    for _ in range(_TRIES):
        first = _Server(socket.AF_INET, "127.0.0.1", port)
        try:
            return [first, _Server(socket.AF_INET6, "::1", int(first.server_address[1]))]
        except OSError as error:
            if error.errno in _NO_IPV6:
                return [first]
            first.server_close()
            if port:
                raise
    raise OSError(errno.EADDRINUSE, "no port is free on both loopback addresses")
