"""The most frequent message, recognised by one pattern instead of the full parser.

It is a REQMOD whose HTTP request is complete, has no body or an empty preview of one, and
comes from a client that accepts 204. All other messages are left to `MessageParser`, which
would read a recognised message in the same way (a test compares the two).
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, NamedTuple

# Any header lines except those that decide how a message is framed. These have places of
# their own in the pattern below, so each line fits in one way only and the pattern never
# backtracks.
_LINES: Final = (
    rb"((?:(?!(?i:encapsulated|connection|transfer-encoding)[ \t:])"
    rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[^\r\n\0]*\r\n)*)"
)
_COMMON: Final = re.compile(
    rb"REQMOD (?:icaps?://[^/?#\s]*)?/reqmod ICAP/1\.0\r\n"
    + _LINES
    # A client that makes a connection for each message.
    + rb"(Connection: close\r\n)?"
    + _LINES
    + rb"Encapsulated: req-hdr=0, ?(null|req)-body=([1-9][0-9]{0,4})\r\n"
    + _LINES
    + rb"\r\n"
)
_OPTION: Final = re.compile(rb"\r\n(allow|preview):([^\r\n]*)(?=\r\n)", re.IGNORECASE)
_AGENT: Final = b"\r\nuser-agent:"
# All spellings of a User-Agent line that the full parser accepts.
_ANY_AGENT: Final = re.compile(rb"\r\n\s*user-agent\s*:", re.IGNORECASE)
_AGENT_NAME: Final = b"user-agent"
_ALLOWED: Final = re.compile(rb"(?:[^,]*,)*[ \t]*204[ \t]*(?:,.*)?")
_HOST: Final = re.compile(
    # At least one character of a host is required behind `//`: in `http:///a` the host
    # would be the text after the slashes.
    rb"(?!CONNECT )[!-~]+ [A-Za-z]+://[A-Za-z0-9_\[][!-.0-~\x80-\xff]*(?=/| HTTP/)"
    rb"(?=[^\r\n]* HTTP/[^ \r\n]*\r\n)"
)
# A head must have exactly one empty line, at its end. A lenient reader also takes these
# two sequences for an empty line.
_EMPTY_LINE: Final = b"\n\r\n"
_BARE_EMPTY_LINE: Final = b"\n\n"
_CR: Final = 13
# There are two options (Allow, Preview); more lines mean that one is repeated.
_MOST_OPTIONS: Final = 2
_PREVIEWED: Final = b"0\r\n\r\n"


class Common(NamedTuple):
    """A recognised message.

    Attributes:
        end: its length.
        host: the request's method and URI up to the path: what decides the host.
        agent: the User-Agent header's value, or empty.
        close: the client wants the connection to end with this message.
    """

    end: int
    host: bytes
    agent: bytes
    close: bool


def recognise(data: bytes, *, agents: bool = True) -> Common | None:
    """The message at the beginning of the data, if it is whole and of the common kind.

    Args:
        data: what the connection gave.
        agents: whether User-Agent matters. Without, it is not read.
    """
    found = _COMMON.match(data)
    if found is None:
        return None
    _, close, _, body, length, _ = found.groups()
    start = found.end()
    end = headers_end = start + int(length)
    options = _OPTION.findall(data, 0, start)
    if len(options) > _MOST_OPTIONS:
        return None
    allow, preview = _options(tuple(options))
    if body == b"null":
        # The client must accept 204: by Allow, or by a Preview, which Squid also sends
        # without a body.
        if not allow and not preview:
            return None
    elif not preview or not data.startswith(_PREVIEWED, end):
        return None
    else:
        end += len(_PREVIEWED)
    if (
        len(data) < end
        or data.find(_EMPTY_LINE, start) != headers_end - 3
        or data.find(_BARE_EMPTY_LINE, start, headers_end) >= 0
        or data[headers_end - 4] != _CR
    ):
        return None
    host = host_of(data, start, headers_end)
    agent = _user_agent(data, start, headers_end) if agents else b""
    return _common(end, host, agent, close=close is not None)


def _common(end: int, host: bytes | None, agent: bytes | None, *, close: bool) -> Common | None:
    return None if host is None or agent is None else Common(end, host, agent, close)


def _user_agent(data: bytes, start: int, end: int) -> bytes | None:
    """The User-Agent header's value, empty without one; None if the pattern cannot tell."""
    head = data[start:end]
    lower = head.lower()
    at = lower.find(_AGENT)
    # Nearly every request has exactly one User-Agent. The slower search is only for others.
    if lower.count(_AGENT_NAME) != (at >= 0) and len(_ANY_AGENT.findall(head)) != (at >= 0):
        return None
    if at < 0:
        return b""
    value = head[at + len(_AGENT) : head.find(b"\r\n", at + 2)].strip(b" \t")
    return None if b"\n" in value or b"\r" in value else value


@lru_cache(maxsize=16)
def _options(fields: tuple[tuple[bytes, bytes], ...]) -> tuple[bool, bool]:
    """Whether 204 is allowed and whether there is a preview of nothing; both at most once.

    Cached, because a client sends the same options with every message.
    """
    found = [(name.lower(), value.strip(b" \t")) for name, value in fields]
    options = dict(found)
    if len(options) != len(found) or options.get(b"preview", b"0") != b"0":
        return False, False
    return _ALLOWED.fullmatch(options.get(b"allow", b"")) is not None, b"preview" in options


def host_of(data: bytes | bytearray, start: int, end: int) -> bytes | None:
    """The part of a request line that decides the host; None if the pattern cannot tell.

    Two requests with the same have the same host, port and kind of method. A tunnel has
    none: the name that is inside it may come with the message as well.
    """
    found = _HOST.match(data, start, end)
    return None if found is None else found[0]
