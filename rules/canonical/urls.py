"""Canonical forms of URLs (docs/format.md, section 2.3).

What a matcher needs beyond the normal forms of RFC 3986: no scheme, no `www.`, no index
pages, one form of every escape, and no exception on hostile input.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, NamedTuple

from inkgate.rules.canonical.addresses import embedded_v4
from inkgate.rules.canonical.escapes import escape, is_plain, unescape
from inkgate.rules.canonical.hosts import Host, canonical_host
from inkgate.rules.canonical.names import longest_suffix
from inkgate.rules.canonical.refused import Refused, check_size
from inkgate.rules.canonical.url_readings import (
    bytes_of,
    read_by_0_1,
    read_by_browsers,
    readings_of,
    resolved,
)

# WHATWG URL removes these anywhere in a URL, so browsers do.
_REMOVED: Final = "\t\n\r"
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
    r"(?:index\.(?:html|htm|shtml|php|asp|aspx|jsp|cgi)|default\.(?:html|htm|asp|aspx))"
)
_QUERY_MARK: Final = b"?"
_DOTS: Final = (b".", b"..")
# U+DC80 to U+DCFF, as "surrogatepass" writes them.
_ESCAPED_BYTE: Final = re.compile(rb"\xed[\xb2\xb3][\x80-\xbf]")

MAX_OBSERVED_BYTES: Final = 64 * 1024


Spell = Callable[[str], str]


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
    _, spell = _undone(path)
    shown = _without_index(_spelled(read_by_browsers(path), spell))
    return Url(url.host, f"{url.value}{shown}{query}")


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
    plain, spell = _undone(path)
    # Most readings of most paths are the same.
    read = {one: _spelled(one, spell) for one in dict.fromkeys(readings_of(path, plain))}
    paths = dict.fromkeys(map(_without_index, read.values()))
    if kind := sent[len(path) :]:
        paths[_with_ftp_type(plain, kind, read, spell)] = None
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
    sent = _bytes(before or "/")
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
        for character in _REMOVED:
            text = text.replace(character, "")
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
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return _ESCAPED_BYTE.sub(_its_byte, text.encode("utf-8", "surrogatepass"))


def _its_byte(escaped: re.Match[bytes]) -> bytes:
    _, middle, last = escaped[0]
    return bytes(((middle << 6 | last & 0x3F) & 0xFF,))


def _undone(path: bytes) -> tuple[bytes, Spell | None]:
    """A path for `readings_of`, and what gives a segment of its readings the one escape."""
    if is_plain(path, _QUERY_MARK):
        return path, None
    # The readings of a path share most of their segments.
    once = _Undone().__getitem__
    plain = b"/".join(map(once, path.replace(b"\\", b"/").split(b"/")))
    return plain, _Spelled(once).__getitem__


class _Undone(dict[bytes, bytes]):
    """Segments without escapes: functools.cache takes twice as long for thousands."""

    def __missing__(self, segment: bytes) -> bytes:
        self[segment] = made = unescape(segment)
        return made


class _Spelled(dict[str, str]):
    """Segments of a reading, with one escape for what needs one.

    Args:
        once: undoes the escapes of one.
    """

    def __init__(self, once: Callable[[bytes], bytes]) -> None:
        super().__init__()
        self._once = once

    def __missing__(self, segment: str) -> str:
        self[segment] = made = escape(self._once(bytes_of(segment)), _QUERY_MARK).decode("ascii")
        return made


def _with_ftp_type(plain: bytes, kind: bytes, read: dict[str, str], spell: Spell | None) -> str:
    """The path with its `;type=`, which inkgate until 0.1 kept as the end of the last segment."""
    if plain.rpartition(b"/")[2] in _DOTS:
        # With that behind them they are a name.
        return _spelled(read_by_0_1(plain + kind), spell)
    before = read_by_0_1(plain)
    return (read.get(before) or _spelled(before, spell)) + kind.decode("ascii")


def _spelled(path: str, spell: Spell | None) -> str:
    """A path that was read, index pages and all, with one escape for what needs one."""
    return resolved("/".join(map(spell, path.split("/"))) if spell else path)


def _without_index(path: str) -> str:
    before, slash, last = path.rpartition("/")
    return before + slash if _INDEX.fullmatch(last) else path


def _query(text: str) -> str:
    return escape(unescape(_bytes(text)), b"").decode("ascii")
