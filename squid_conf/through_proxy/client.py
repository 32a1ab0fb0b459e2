"""One request to a proxy, bounded in size and time."""

from __future__ import annotations

import re
import socket
import time
from http.client import HTTPException, HTTPResponse, IncompleteRead
from io import BytesIO
from typing import Any, Final, NamedTuple

from inkgate.squid_conf.ports import Port

# A helper that starts, reads rules and derives a key takes some seconds on a busy machine.
SECONDS: Final = 20.0
MAX_BYTES: Final = 256 * 1024
INCIDENT: Final = re.compile(r"IG-[0-9A-HJKMNP-TV-Z]{10}")
UNAVAILABLE: Final = "inkgate-unavailable"
POSTED: Final = b"inkgate squid check: this must not leave the proxy\n"
_REOPEN_SECONDS: Final = 3.0
_AGAIN_SECONDS: Final = 0.1


class Ask(NamedTuple):
    """A request.

    Attributes:
        method: GET, POST or CONNECT.
        target: a URL; for CONNECT host and port.
    """

    method: str
    target: str


class Reply(NamedTuple):
    """What came back.

    Attributes:
        status: of HTTP; 0 if nothing came in time, -1 if nothing listens there.
        text: header and body, to look for an incident id.
    """

    status: int
    text: str = ""

    @property
    def has_incident(self) -> bool:
        """Whether it is inkgate's refusal: Squid's own pages have no incident id."""
        return self.status >= 300 and INCIDENT.search(self.text) is not None

    @property
    def is_unavailable(self) -> bool:
        """Whether inkgate could not tell, and the settings block then."""
        return self.status >= 300 and UNAVAILABLE in self.text


def ask(port: Port, request: Ask, authorization: str = "", seconds: float = SECONDS) -> Reply:
    """Send a request to a proxy and read its answer.

    Args:
        port: where it listens.
        request: what is asked for.
        authorization: value of Proxy-Authorization, if there is to be one.
        seconds: how long all of it may take.
    """
    until = time.monotonic() + seconds
    connection = _connected(port, seconds)
    if isinstance(connection, Reply):
        return connection
    with connection:
        try:
            connection.sendall(_message(request, authorization))
            data = _read(connection, until, is_tunnel=request.method == "CONNECT")
        except OSError as error:
            return Reply(0, error.strerror or "")
    return _parsed(data, request.method)


def _connected(port: Port, seconds: float) -> socket.socket | Reply:
    """A connection, or why there is none."""
    # A Squid that reads its configuration again closes its ports for a moment.
    patience = time.monotonic() + min(seconds, _REOPEN_SECONDS)
    while True:
        try:
            return socket.create_connection((port.host, port.number), seconds)
        except TimeoutError:
            return Reply(0)
        except OSError:
            if time.monotonic() > patience:
                return Reply(-1)
        time.sleep(_AGAIN_SECONDS)


def _message(request: Ask, authorization: str) -> bytes:
    authority = request.target if request.method == "CONNECT" else request.target.split("/")[2]
    body = POSTED if request.method == "POST" else b""
    lines = [
        f"{request.method} {request.target} HTTP/1.1",
        f"Host: {authority}",
        "User-Agent: inkgate-squid-check",
        "Cache-Control: no-cache",
        "Connection: close",
    ]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    if authorization:
        lines.append(f"Proxy-Authorization: {authorization}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1", "replace") + body


def _read(connection: socket.socket, until: float, *, is_tunnel: bool) -> bytes:
    """All that comes until the end, the time limit or the size limit."""
    data = b""
    while len(data) < MAX_BYTES:
        if is_tunnel and b"\r\n\r\n" in data and re.match(rb"HTTP/1\.[01] 2", data):
            break
        connection.settimeout(max(0.01, until - time.monotonic()))
        try:
            piece = connection.recv(65_536)
        except TimeoutError:
            break
        if not piece:
            break
        data += piece
    return data


class _Received:
    """What http.client reads an answer from."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, *_: Any) -> BytesIO:
        return BytesIO(self._data)


def _parsed(data: bytes, method: str) -> Reply:
    # The type asks for a socket; of it, only makefile is used.
    received: Any = _Received(data)
    reply = HTTPResponse(received, method="GET" if method == "CONNECT" else method)
    try:
        reply.begin()
    except (HTTPException, ValueError):
        return Reply(0, data[:80].decode("latin-1"))
    is_open = method == "CONNECT" and reply.status < 300
    return Reply(reply.status, str(reply.headers) + ("" if is_open else _body(reply)))


def _body(reply: HTTPResponse) -> str:
    try:
        data = reply.read(MAX_BYTES)
    except IncompleteRead as error:
        data = error.partial
    except (HTTPException, ValueError):
        data = b""
    return data.decode("utf-8", "replace")
