"""A server that does its worst: what it sends, however slowly, is up to each case."""

from __future__ import annotations

import gzip
import json
import select
import socket
import socketserver
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Final, Self

Act = Callable[[socket.socket], None]
"""What it does with a connection on which a request has come."""

_DRIP_SECONDS: Final = 0.05
_MIB: Final = 1 << 20


class HostileServer:
    """Listens on 127.0.0.1 and does the same with every request.

    Args:
        act: what it does.
        port: 0 for any that is free.
        asks: whether the client speaks first; a database's does not.

    Attributes:
        connections: how many there were.
    """

    def __init__(self, act: Act, port: int = 0, *, asks: bool = True) -> None:
        self.connections = 0
        self.stopping = threading.Event()
        server = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                server.connections += 1
                with suppress(OSError):
                    if asks:
                        self.request.recv(_MIB)
                    act(self.request)

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address = True
            daemon_threads = True

        self._server = Server(("127.0.0.1", port), Handler)
        self.port = int(self._server.server_address[1])
        self.url = f"http://127.0.0.1:{self.port}/feed/"
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.02,), daemon=True
        )
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def answered(body: bytes, *headers: str, status: str = "200 OK", length: bool = True) -> bytes:
    """An answer with a body."""
    lines = [f"HTTP/1.1 {status}", "Content-Type: application/json", *headers]
    if length:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def sends(data: bytes) -> Act:
    """Sends this and hangs up."""
    return lambda connection: connection.sendall(data)


def drips(before: bytes, data: bytes = b" ") -> Act:
    """Sends some, then a byte at a time for ever."""

    def act(connection: socket.socket) -> None:
        connection.sendall(before)
        while not _is_gone(connection, _DRIP_SECONDS):
            connection.sendall(data)

    return act


def floods(before: bytes, data: bytes) -> Act:
    """Sends some, then the same data for ever, as fast as it is taken."""

    def act(connection: socket.socket) -> None:
        connection.sendall(before)
        while True:
            connection.sendall(data)

    return act


def is_silent(connection: socket.socket) -> None:
    """Says nothing until the client gives up."""
    while not _is_gone(connection, 1.0):
        pass


def _is_gone(connection: socket.socket, seconds: float) -> bool:
    """Whether the client has hung up, within so many seconds."""
    ready, _, _ = select.select([connection], [], [], seconds)
    return bool(ready) and not connection.recv(_MIB)


def sends_made(make: Callable[[], bytes]) -> Act:
    """Sends what is made when it is asked for: it may be large."""
    return lambda connection: connection.sendall(make())


def _packed(mebibytes: int) -> bytes:
    pack = zlib.compressobj(1, wbits=31)
    return b"".join(pack.compress(b" " * _MIB) for _ in range(mebibytes)) + pack.flush()


def event_of_nothings(count: int) -> bytes:
    """A small event that becomes a large one in memory."""
    return b'{"Event":{"uuid":"x","info":"x","Attribute":[' + b"{}," * count + b"{}]}}"


def cases() -> Iterator[tuple[str, Act]]:
    """What a web server can do, by name."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
    chunked = head + b"Transfer-Encoding: chunked\r\n\r\n"
    yield "silent", is_silent
    yield "slow-status", drips(b"", b"H")
    yield "slow-headers", drips(b"HTTP/1.1 200 OK\r\nX: ", b"x")
    yield "slow-body", drips(head + b"Content-Length: 100000\r\n\r\n{")
    yield "slow-body-until-close", drips(b"HTTP/1.0 200 OK\r\n\r\n{")
    yield "slow-chunks", drips(chunked, b"1\r\n \r\n")
    yield "endless-continue", floods(b"", b"HTTP/1.1 100 Continue\r\n\r\n")
    yield "endless-body", floods(chunked, b"10000\r\n" + b" " * 65536 + b"\r\n")
    yield "endless-line-of-a-chunk", floods(chunked, b"0" * 65536)
    yield "endless-until-close", floods(b"HTTP/1.0 200 OK\r\n\r\n", b" " * 65536)
    yield "huge-headers", floods(head, b"X: " + b"x" * 60_000 + b"\r\n")
    bomb = "Content-Encoding: gzip"
    yield "packed-bomb", sends_made(lambda: answered(_packed(512), bomb))
    yield (
        "packed-twice",
        sends_made(lambda: answered(gzip.compress(_packed(512)), f"{bomb}, gzip")),
    )
    yield "packed-and-cut", sends(answered(_packed(1)[:-100], "Content-Encoding: gzip"))
    yield "length-too-long", sends(head + b"Content-Length: 1000000\r\n\r\n{}")
    yield "length-absurd", sends(head + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n{}")
    yield "length-negative", sends(head + b"Content-Length: -1\r\n\r\n{}")
    yield "nested", sends_made(lambda: answered(b'{"a":' * 1_000_000))
    yield "nested-lists", sends_made(lambda: answered(b"[" * 5_000_000))
    yield "many-parts", sends_made(lambda: answered(b"[" + b"{}," * 20_000_000 + b"{}]"))
    yield "no-http", sends(b"\x16\x03\x01\x00\x05hello" * 100)
    yield "html", sends(answered(b"<!DOCTYPE html><title>Log in</title>"))
    yield "null", sends(answered(b"null"))
    yield "empty-object", sends(answered(b"{}"))
    yield "empty-list", sends(answered(b"[]"))
    yield (
        "redirect-in-a-circle",
        sends(answered(b"", "Location: manifest.json", status="302 Found")),
    )
    yield (
        "redirect-to-a-file",
        sends(answered(b"", "Location: file:///etc/passwd", status="301 Moved")),
    )
    yield (
        "redirect-to-the-cloud",
        sends(answered(b"", "Location: http://169.254.169.254/latest/", status="307 Moved")),
    )


CASES: Final = dict(cases())


def manifest_of(*names: str) -> bytes:
    """A feed's manifest."""
    return json.dumps({name: {"timestamp": "1"} for name in names}).encode()
