"""Answers of the server (RFC 3507, section 4.3.3)."""

from __future__ import annotations

from collections.abc import Iterable

from inkgate.icap_server.protocol.errors import reason_of

VERSION = b"ICAP/1.0 "
"""With which every answer begins."""

CONTINUE = b"ICAP/1.0 100 Continue\r\n\r\n"

POINT = b"X-Inkgate-Point"
"""Which of the two methods this answers. A proxy's log that has none shows a message that
nobody answered (docs/decisions/0112)."""


def status_line(status: int) -> bytes:
    """The first line without its end."""
    return b"ICAP/1.0 %d %b" % (status, reason_of(status).encode("ascii"))


def head(start: bytes, fields: Iterable[tuple[bytes, bytes]]) -> bytes:
    """A start line and header fields with the empty line after them."""
    lines = [start, *(b"%b: %b" % field for field in fields), b"", b""]
    return b"\r\n".join(lines)


def encapsulated(headers: str, length: int, *, body: bool) -> bytes:
    """The value of Encapsulated for at most one block of headers.

    Args:
        headers: `req` or `res`, or empty if there is no block.
        length: the block's bytes.
        body: whether chunks follow.
    """
    if not headers:
        return b"null-body=0"
    part = headers if body else "null"
    return f"{headers}-hdr=0, {part}-body={length}".encode("ascii")


def not_modified(istag: bytes) -> bytes:
    """The whole answer that a request may go on as it is."""
    fields = [(b"ISTag", istag), (POINT, b"REQMOD"), (b"Encapsulated", b"null-body=0")]
    return head(status_line(204), fields)


def overloaded() -> bytes:
    """The whole answer to a connection that finds no room."""
    fields = [(b"ISTag", b'"IG-overloaded"'), (b"Connection", b"close")]
    return head(status_line(503), [*fields, (b"Encapsulated", b"null-body=0")])
