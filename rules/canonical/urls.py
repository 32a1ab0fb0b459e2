"""Canonical forms of URLs (docs/format.md, section 2.3).

What a matcher needs beyond the normal forms of RFC 3986: no scheme, no `www.`, no index
pages, one form of every escape, and no exception on hostile input.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Final, NamedTuple

from inkgate.rules.canonical.addresses import embedded_v4
from inkgate.rules.canonical.escapes import escape, unescape
from inkgate.rules.canonical.hosts import Host, canonical_host
from inkgate.rules.canonical.names import longest_suffix
from inkgate.rules.canonical.refused import Refused, check_size
from inkgate.rules.canonical.url_readings import read_by_browsers, readings_of, unescaped

# WHATWG URL removes these anywhere in a URL, so browsers do.
_REMOVED: Final = str.maketrans("", "", "\t\n\r")
_AROUND: Final = "".join(map(chr, range(0x21)))
_SCHEME: Final = re.compile(
    # Browsers read http:host and http:/host as http://host; so they do with `ftp` and `ws`, and
    # with no other scheme.
    r"(https?|ftp|wss?):(?:[/\\]+|(?![0-9/\\]))|([a-z][a-z0-9+.-]*):[/\\]{2,}",
    re.ASCII | re.IGNORECASE,
)
_NO_HOST: Final = re.compile(
    r"(?:about|blob|data|javascript|magnet|mailto|news|sip|sips|tel|urn|view-source|xmpp):"
    # With a port behind it, it is a host: a tunnel is asked for as `data:443`.
    r"(?![0-9]{1,5}(?:[/\\]|$))",
    re.ASCII | re.IGNORECASE,
)
_SLASHES: Final = re.compile(r"[/\\]{2,}")
_FTP_TYPE: Final = re.compile(rb";type=[aid]\Z", re.IGNORECASE)
_SLASH: Final = re.compile(r"[/\\]")
_INDEX: Final = re.compile(
    rb"(?:index\.(?:html|htm|shtml|php|asp|aspx|jsp|cgi)|default\.(?:html|htm|asp|aspx))"
)


MAX_OBSERVED_BYTES: Final = 64 * 1024


class Authority(NamedTuple):
    """Where a URL points: canonical host, and its port if it was written."""

    host: Host
    port: int | None
    scheme: str


class Url(NamedTuple):
    """A canonical URL: `host[:port]/path[?query]`. The host is without `www.`."""

    host: Host
    value: str


def canonical_url(text: str) -> Url:
    """Canonicalise a URL, with or without a scheme.

    Raises:
        Refused: it has no host, or one that cannot be, or it is too long.
    """
    check_size(text)
    url, path, _, query = _taken_apart(text)
    return Url(url.host, f"{url.value}{_path(read_by_browsers(path), unescape)}{query}")


def observed_url(text: str) -> tuple[str, ...]:
    """The canonical values under which an observed URL may be listed, longest first.

    An observed URL may be longer than an indicator: what `/./` and escapes blow up is
    still the listed one. Beyond 64 KiB it is looked up without its query, if that is
    where its length is.

    Raises:
        Refused: it has no host, or one that cannot be, or its path is too long.
    """
    if len(text) > MAX_OBSERVED_BYTES:
        text = text[:MAX_OBSERVED_BYTES].rpartition("?")[0]
    check_size(text, MAX_OBSERVED_BYTES)
    url, path, sent, query = _taken_apart(text)
    places = [url.value]
    if embedded := embedded_v4(url.host.value):
        places.append(url.value.replace(f"[{url.host.value}]", embedded, 1))
    once = functools.cache(unescape)
    read = dict.fromkeys(readings_of(path, once))
    if sent != path:
        # inkgate until 0.1 kept it.
        read |= dict.fromkeys(readings_of(sent, once))
    paths = dict.fromkeys(_path(one, once) for one in read)
    found = (f"{place}{one}{part}" for place in places for one in paths for part in (query, ""))
    return tuple(dict.fromkeys(found))


def _taken_apart(text: str) -> tuple[Url, bytes, bytes, str]:
    """The canonical URL up to its path, its path, that as it was sent, the query with its `?`."""
    authority, rest = _split(text)
    host = authority.host
    if host.kind == "name":
        host = Host("name", strip_www(host.value))
    shown = f"[{host.value}]" if ":" in host.value else host.value
    port = "" if _is_default(authority) else f":{authority.port}"
    before, _, after = rest.partition("?")
    sent = _bytes(before)
    path = _FTP_TYPE.sub(b"", sent) if authority.scheme == "ftp" else sent
    query = _query(after)
    return Url(host, f"{shown}{port}"), path, sent, f"?{query}" if query else ""


def canonical_authority(text: str) -> Authority:
    """Host and port of a URL, read exactly as `canonical_url` reads them, `www.` kept.

    Raises:
        Refused: it has no host, or one that cannot be. However long the rest is, it does
            not hide the host.
    """
    return _split(text)[0]


def observed_authority(text: str) -> tuple[Authority, bool]:
    """`canonical_authority` of what a client sent, and whether its host is all there.

    A host without a canonical form stands for its longest sound suffix, so that no
    spelling of a name below a listed domain gets by.

    Raises:
        Refused: there is nothing in it that could be listed.
    """
    try:
        return canonical_authority(text), True
    except Refused:
        scheme, authority, _ = _pieces(text)
        host = authority.rpartition("@")[2].partition(":")[0]
        return Authority(Host("name", longest_suffix(host)), None, scheme), False


def strip_www(name: str) -> str:
    """A name without its leading `www.`, as long as two labels are left."""
    while name.startswith("www.") and name.count(".") > 1:
        name = name[4:]
    return name


def _split(text: str) -> tuple[Authority, str]:
    scheme, authority, rest = _pieces(text)
    return _authority(authority, scheme), rest


def _pieces(text: str) -> tuple[str, str, str]:
    """Scheme, authority and the rest, as they are written."""
    text = text.strip(_AROUND)
    if not text.isprintable():
        text = text.translate(_REMOVED)
    text = text.partition("#")[0]
    before, question, query = text.partition("?")
    if _NO_HOST.match(before):
        raise Refused("a scheme without hosts")
    scheme, before = _without_scheme(before)
    end = _SLASH.search(before)
    at = end.start() if end else len(before)
    return scheme, before[:at], before[at:] + question + query


def _without_scheme(text: str) -> tuple[str, str]:
    found = _SCHEME.match(text)
    if found:
        return (found[1] or found[2]).lower(), text[found.end() :]
    slashes = _SLASHES.match(text)
    return "", text[slashes.end() :] if slashes else text


def _authority(text: str, scheme: str) -> Authority:
    text = text.rpartition("@")[2]
    if text.startswith("["):
        host, bracket, port = text.partition("]")
        host += bracket
        if port and not port.startswith(":"):
            raise Refused("not a host")
        port = port[1:]
    else:
        host, _, port = text.partition(":")
    if not host:
        raise Refused("no host")
    return Authority(canonical_host(host), _port(port) if port else None, scheme)


def _port(text: str) -> int:
    digits = text.lstrip("0") or "0"
    if not (text.isascii() and text.isdigit() and len(digits) <= 5 and int(digits) < 65_536):
        raise Refused("not a port")
    return int(digits)


def _is_default(authority: Authority) -> bool:
    port = authority.port
    return port is None or port in (80, 443) or (port == 21 and authority.scheme == "ftp")


def _bytes(text: str) -> bytes:
    # Surrogates carry bytes that were not UTF-8 (os.fsencode's convention); lone ones
    # of another origin are kept apart, too.
    return (
        b"".join(
            bytes((ord(c) - 0xDC00,))
            if "\udc80" <= c <= "\udcff"
            else c.encode("utf-8", "surrogatepass")
            for c in text
        )
        if not text.isascii()
        else text.encode("ascii")
    )


def _path(path: bytes, unescape: Callable[[bytes], bytes]) -> str:
    segments: list[bytes] = []
    parts = unescaped(path, unescape).split(b"/")
    for segment in parts:
        if segment == b"..":
            if segments:
                segments.pop()
        elif segment not in (b"", b"."):
            segments.append(segment)
    folder = parts[-1] in (b"", b".", b"..")
    if segments and not folder and _INDEX.fullmatch(segments[-1]):
        segments.pop()
        folder = True
    path = b"/" + b"/".join(segments) + (b"/" if folder and segments else b"")
    return escape(path, b"?").decode("ascii")


def _query(text: str) -> str:
    return escape(unescape(_bytes(text)), b"").decode("ascii")
