"""The parts of encapsulated HTTP messages that a verdict needs."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from inkgate.icap_server.protocol.fields import http_fields

_OK: Final = 200
# Each costs a derivation, and a head may have thousands.
MORE_AGENTS: Final = 15
_STATUS: Final = re.compile(rb"[^ \r\n]+ +([0-9]{3})")


class HttpRequest(NamedTuple):
    """An HTTP request: its absolute URI, or `host:port` for CONNECT, and what else we need.

    Bytes that are not UTF-8 are kept apart from each other (surrogates).

    Attributes:
        user_agent: the first User-Agent field.
        more_agents: those after it, without repetitions, up to MORE_AGENTS.
    """

    method: str
    uri: str
    user_agent: str
    more_agents: tuple[str, ...] = ()


class HttpResponse(NamedTuple):
    """An HTTP response's head.

    Attributes:
        status: the status code.
        length: Content-Length, None if there is none that is a number.
        encodings: Content-Encoding, outermost last, in lower case, without what stands for
            none.
        dispositions: each Content-Disposition.
    """

    status: int
    length: int | None
    encodings: tuple[str, ...]
    dispositions: tuple[bytes, ...]


def parse_request(block: bytes) -> HttpRequest:
    """Read a request's head, whatever its first line is: the proxy has let it pass."""
    words = block.partition(b"\r\n")[0].split(b" ")
    # A URI must not contain spaces, but a proxy may forward one that does. A request of
    # HTTP/0.9 has no version.
    end = len(words) - 1 if len(words) > 2 or words[-1].startswith(b"HTTP/") else len(words)
    target = b" ".join(words[1:end])
    host = agent = b""
    more: list[bytes] = []
    for name, value in http_fields(block):
        if name == b"host":
            host = host or value
        elif name == b"user-agent":
            if not agent:
                agent = value
            elif value != agent and value not in more and len(more) < MORE_AGENTS:
                more.append(value)
    method = _text(words[0])
    if method != "CONNECT" and target.startswith(b"/"):
        # The path only (origin form, RFC 7230, section 5.3.1): intercepting proxies send this.
        target = b"http://" + host + target
    return HttpRequest(method, _text(target), _text(agent), tuple(map(_text, more)))


def parse_response(block: bytes) -> HttpResponse:
    """Read a response's head, whatever its first line is: the client may make a file of it.

    Without a status it is 200, as after the `ICY 200 OK` of Internet radio.
    """
    found = _STATUS.match(block)
    length = None
    encodings: list[str] = []
    dispositions: list[bytes] = []
    for name, value in http_fields(block):
        if name == b"content-length" and value.isdigit() and len(value) < 19:
            length = int(value)
        elif name == b"content-encoding":
            # Firefox takes spaces between names as it takes commas.
            encodings += _text(value).lower().replace(",", " ").split()
        elif name == b"content-disposition":
            dispositions.append(value)
    named = tuple(e for e in encodings if e not in ("identity", "none"))
    status = _OK if found is None else int(found[1])
    return HttpResponse(status, length, named, tuple(dispositions))


def without_cache(block: bytes) -> bytes:
    """A request's head that asks a cache to fetch from the server (RFC 9111, section 5.2.1.4).

    Args:
        block: the head with its empty line.
    """
    return block[:-2] + b"Cache-Control: no-cache\r\n\r\n"


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")
