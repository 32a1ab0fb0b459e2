"""The message that nearly every request of a proxy is, recognised without taking it apart.

A REQMOD whose HTTP request comes whole, with no body or with an empty preview of one,
from a client that takes 204. Whatever else it may be, it is left to `MessageParser`;
what is recognised here, that one would read in the same way (a test holds them to it).
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

# Fields that change how a message is framed are only known in their places, so no line
# fits in two ways and the pattern never tries twice.
_LINES: Final = (
    rb"((?:(?!(?i:encapsulated|connection|transfer-encoding)[ \t:])"
    rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[^\r\n\0]*\r\n)*)"
)
_COMMON: Final = re.compile(
    rb"REQMOD (?:icaps?://[^/?#\s]*)?/reqmod ICAP/1\.0\r\n"
    + _LINES
    + rb"Encapsulated: req-hdr=0, ?(null|req)-body=([1-9][0-9]{0,4})\r\n"
    + _LINES
    + rb"\r\n"
)
_OPTION: Final = re.compile(rb"\r\n(allow|preview):([^\r\n]*)(?=\r\n)", re.IGNORECASE)
_AGENT: Final = re.compile(rb"\r\nuser-agent:([^\r\n]*)\r\n", re.IGNORECASE)
_ALLOWED: Final = re.compile(rb"(?:[^,]*,)*[ \t]*204[ \t]*(?:,.*)?")
_HOST: Final = re.compile(
    # With an empty authority the host is what stands after any number of slashes.
    rb"(?!CONNECT )[!-~]+ [A-Za-z]+://[A-Za-z0-9_\[][!-.0-~\x80-\xff]*(?=/| HTTP/)"
    rb"(?=[^\r\n]* HTTP/[^ \r\n]*\r\n)"
)
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
    _, body, length, _ = found.groups()
    start = found.end()
    end = headers_end = start + int(length)
    allow, preview = _options(data, start)
    if body == b"null":
        # 204 needs leave, or a preview (Squid announces one of a body that is not there).
        if not allow and not preview:
            return None
    elif not preview or not data.startswith(_PREVIEWED, end):
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
    return found[1].strip(b" \t") if found else b""


def _options(data: bytes | bytearray, end: int) -> tuple[bool, bool]:
    """Whether 204 is allowed and whether there is a preview of nothing; both at most once."""
    found = [(name.lower(), value.strip(b" \t")) for name, value in _OPTION.findall(data, 0, end)]
    options = dict(found)
    if len(options) != len(found) or options.get(b"preview", b"0") != b"0":
        return False, False
    return _ALLOWED.fullmatch(options.get(b"allow", b"")) is not None, b"preview" in options


def host_of(data: bytes | bytearray, start: int, end: int) -> bytes | None:
    """What of a request line decides the host, None if that is not plain to see.

    Two requests with the same have the same host, port and kind of method. A tunnel has
    none: the name that is inside it may come with the message as well.
    """
    found = _HOST.match(data, start, end)
    return None if found is None or found.end() - start > _MAX_KEY else found[0]
