"""The message that nearly every request of a proxy is, recognised without taking it apart.

A REQMOD whose HTTP request comes whole, with no body or with an empty preview of one,
from a client that takes 204. Whatever else it may be, it is left to `MessageParser`;
what is recognised here, that one would read in the same way (a test holds them to it).
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

# Fields that change how a message is framed or answered are only known in their places.
# Possessive, so that no input makes the pattern try twice.
_LINE: Final = (
    rb"(?:(?!(?i:encapsulated|preview|connection|transfer-encoding|allow)[ \t:])"
    rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[^\r\n\0]*\r\n)*+"
)
_COMMON: Final = re.compile(
    rb"REQMOD (?:icaps?://[^/?#\s]*)?/reqmod ICAP/1\.0\r\n"
    + _LINE
    + rb"(?:Allow: ([^\r\n\0]*)\r\n)?"
    + _LINE
    + rb"(?:Preview: (0)\r\n)?"
    + _LINE
    + rb"(?:Allow: ([^\r\n\0]*)\r\n)?"
    + _LINE
    + rb"Encapsulated: req-hdr=0, ?(null|req)-body=([1-9][0-9]{0,4})\r\n"
    + _LINE
    + rb"(?:Preview: (0)\r\n)?"
    + _LINE
    + rb"(?:Allow: ([^\r\n\0]*)\r\n)?"
    + _LINE
    + rb"\r\n"
)
_AGENT: Final = re.compile(rb"\r\nuser-agent:[ \t]*([^\r\n]*?)[ \t]*\r\n", re.IGNORECASE)
_ALLOWED: Final = re.compile(rb"(?:.*,)?[ \t]*204[ \t]*(?:,.*)?")
_END: Final = b"\r\n\r\n"
_PREVIEWED: Final = b"0\r\n\r\n"
# Beyond this a host's spelling is not worth remembering.
_MAX_KEY: Final = 300


class Common(NamedTuple):
    """A recognised message.

    Attributes:
        end: its length.
        host: the request's method and URI up to the path: what decides the host.
        start: where the HTTP request begins.
        headers_end: where the HTTP request's head ends.
    """

    end: int
    host: bytes
    start: int
    headers_end: int


def recognise(data: bytes | bytearray) -> Common | None:
    """The message at the beginning of the data, if it is whole and of the common kind."""
    found = _COMMON.match(data)
    if found is None:
        return None
    allow, preview, allow2, body, length, preview2, allow3 = found.groups()
    start = found.end()
    end = headers_end = start + int(length)
    if body == b"null":
        # 204 needs leave; a preview of nothing is left to those who know what it is.
        if preview or preview2 or not _allows(allow, allow2, allow3):
            return None
    elif not (preview or preview2) or not data.startswith(_PREVIEWED, end):
        return None
    else:
        end += len(_PREVIEWED)
    if data.find(_END, start, headers_end) != headers_end - 4 or len(data) < end:
        return None
    host = host_of(data, start, headers_end)
    return None if host is None else Common(end, host, start, headers_end)


def user_agent(data: bytes | bytearray, common: Common) -> bytes:
    """The first User-Agent header's value, or empty."""
    found = _AGENT.search(data, common.start, common.headers_end)
    return found[1] if found else b""


def _allows(*values: bytes | None) -> bool:
    return any(value is not None and _ALLOWED.fullmatch(value) for value in values)


def host_of(data: bytes | bytearray, start: int, end: int) -> bytes | None:
    """What of a request line decides the host, None if that is not plain to see.

    Two requests with the same have the same host, port and kind of method.
    """
    line_end = data.find(b"\r\n", start, end)
    version = data.rfind(b" HTTP/", start, line_end)
    if version < 0:
        return None
    if data.startswith(b"CONNECT ", start):
        cut = version
    else:
        scheme = data.find(b"://", start, version)
        if scheme < 0:
            return None
        slash = data.find(b"/", scheme + 3, version)
        cut = slash if slash >= 0 else version
    return bytes(data[start:cut]) if cut - start <= _MAX_KEY else None
