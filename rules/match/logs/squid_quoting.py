"""How Squid writes a value into its log, undone (squid.conf manual, logformat, encodings).

What an encoding lost cannot be undone: where a text may stand for two values, both are
given. So of a percent-encoding that leaves `%` as it is: `%20` was a space, or `%20`.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, combinations, islice
from typing import Final


class Quoting(enum.Enum):
    """An encoding of values.

    Attributes:
        QUOTED: in quotes, with backslashes.
        MIME: percent-encoding of `%`, brackets, control characters and beyond ASCII.
        URL: percent-encoding of what is unsafe in a URL, and of `%`.
        PASSED: the same, but `%` is left as it is.
        SHELL: in quotes if there is a space, with backslashes.
        RAW: none.
        WEB: none, as Squid's own format `combined` has it, or what a web server does:
            backslashes and `\\xHH`.
    """

    QUOTED = '"'
    MIME = "["
    URL = "#"
    PASSED = "%"
    SHELL = "/"
    RAW = "'"
    WEB = "\\"


BY_MODIFIER: Final = {mark: Quoting(mark) for mark in ('"', "[", "#", "/", "'")}

_ESCAPES: Final = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f", "v": "\v"}
_SQUIDS_ESCAPES: Final = {"n": "\n", "r": "\r", "t": "\t"}
_BACKSLASH: Final = re.compile(r"\\([^\n])")
_WEB: Final = re.compile(rb"\\(?:x([0-9A-Fa-f]{2})|([^\n]))")
_PERCENT: Final = re.compile(rb"%([0-9A-Fa-f]{2})")
_ESCAPE: Final = re.compile(r"%([0-9A-F]{2})")
# What one text may stand for, at most: each costs derivations, and clients write such texts.
MOST_VALUES: Final = 16
MOST_URLS: Final = 8
# Of so many escapes of one kind each may be the client's own.
_FEW: Final = 4
_ASCII_END: Final = 0x80
_MIME: Final = re.compile(rb"%([0-9A-Fa-f]{2})|\\([nr\\])")
# Bytes that RFC 1738 calls unsafe, and control characters: what PASSED encodes.
_UNSAFE: Final = frozenset((*range(0x21), *b"<>\"#{}|\\^~[]`'", *range(0x7F, 0x100)))
# A space ends a request's target, and `#`, which browsers keep to themselves, is cut at.
_UNSAFE_IN_URLS: Final = _UNSAFE - frozenset(b"# ")
_BACKSLASH_ESCAPE: Final = "%5C"
_HASH_ESCAPE: Final = "%23"
# Squid encodes the URL of `%ru` if it has one of these bytes.
_CONTROL_ESCAPE: Final = re.compile(r"%(?:[0189][0-9A-F]|7F)")


def is_plain(text: str) -> bool:
    """Whether every encoding leaves a text as it is, so that there is nothing to undo."""
    return "%" not in text and "\\" not in text and not text.startswith('"')


def values_of(text: str, quoting: Quoting) -> tuple[str, ...]:
    """The values that a text of the log may stand for; the likeliest first."""
    if is_plain(text):
        return (text,)
    if quoting is Quoting.PASSED:
        return tuple(dict.fromkeys(islice(_passed(text), MOST_VALUES)))
    if quoting is Quoting.WEB:
        # The backslashes may be the client's own.
        return tuple(dict.fromkeys((text, _DECODERS[quoting](text))))
    return (_DECODERS[quoting](text),)


def urls_of(text: str, quoting: Quoting) -> tuple[str, ...]:
    """The URLs that a text of the log may stand for; the likeliest first.

    Canonical forms undo most escapes themselves. What matters is what separates parts of a
    URL: a backslash, the brackets of an IPv6 address, bytes of a host. Where Squid escapes, a
    `%23` may be a `#`, behind which a server looks at nothing: the URL before it is the last one.
    """
    values = (text,) if quoting is Quoting.PASSED else values_of(text, quoting)
    escaped = [v for v in values if quoting is Quoting.PASSED or _CONTROL_ESCAPE.search(v)]
    cut = [before for before, mark, _ in (v.partition(_HASH_ESCAPE) for v in escaped) if mark]
    read = (_passed_url(value) if value in escaped else iter((value,)) for value in values)
    found = islice(chain.from_iterable(read), MOST_URLS - len(cut))
    return tuple(dict.fromkeys((*found, *cut)))


def _passed_url(text: str) -> Iterator[str]:
    found = [one for one in _ESCAPE.finditer(text) if int(one[1], 16) in _UNSAFE_IN_URLS]
    # Any other escape, undone or not, makes the same canonical URL.
    return _undone(text, found, [escape for escape in found if escape[0] == _BACKSLASH_ESCAPE])


def _passed(text: str) -> Iterator[str]:
    """What a text may stand for whose `%` may be the client's own, the likeliest first.

    A browser's name has spaces alone: of one kind of escape all are the same, if they are many.
    """
    found = [escape for escape in _ESCAPE.finditer(text) if int(escape[1], 16) in _UNSAFE]
    own = [escape for escape in found if int(escape[1], 16) < _ASCII_END]
    is_one_kind = len({escape[0] for escape in own}) == 1
    return _undone(text, found, [] if is_one_kind and len(own) > _FEW else own)


def _undone(
    text: str, found: Sequence[re.Match[str]], own: Sequence[re.Match[str]]
) -> Iterator[str]:
    """All escapes are the client's, or all are Squid's, or as few as possible are the client's.

    Args:
        found: what Squid may have escaped.
        own: those of them that may be the client's own.
    """
    yield text
    for count in range(len(own) + 1):
        for kept in combinations(own, count):
            yield _decoded(text, (escape for escape in found if escape not in kept))


def _decoded(text: str, escapes: Iterable[re.Match[str]]) -> str:
    parts: list[bytes] = []
    position = 0
    for escape in escapes:
        parts += (_to_bytes(text[position : escape.start()]), bytes((int(escape[1], 16),)))
        position = escape.end()
    parts.append(_to_bytes(text[position:]))
    return b"".join(parts).decode("utf-8", "surrogateescape")


def _to_bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _without_backslashes(text: str) -> str:
    return _BACKSLASH.sub(lambda found: _SQUIDS_ESCAPES.get(found[1], found[1]), text)


def _from_shell(text: str) -> str:
    is_quoted = len(text) > 1 and text[0] == text[-1] == '"'
    return _without_backslashes(text[1:-1] if is_quoted else text)


def _by_bytes(
    pattern: re.Pattern[bytes], replace: Callable[[re.Match[bytes]], bytes]
) -> Callable[[str], str]:
    def decode(text: str) -> str:
        data = pattern.sub(replace, _to_bytes(text))
        return data.decode("utf-8", "surrogateescape")

    return decode


def _any_byte(found: re.Match[bytes]) -> bytes:
    return bytes((int(found[1], 16),))


def _mime_byte(found: re.Match[bytes]) -> bytes:
    if found[1]:
        return _any_byte(found)
    return {b"n": b"\n", b"r": b"\r"}.get(found[2], b"\\")


def _web_byte(found: re.Match[bytes]) -> bytes:
    if found[1]:
        return _any_byte(found)
    letter = found[2].decode("latin-1")
    return _ESCAPES.get(letter, letter).encode("latin-1")


_DECODERS: Final[dict[Quoting, Callable[[str], str]]] = {
    Quoting.QUOTED: _without_backslashes,
    Quoting.SHELL: _from_shell,
    Quoting.MIME: _by_bytes(_MIME, _mime_byte),
    Quoting.URL: _by_bytes(_PERCENT, _any_byte),
    Quoting.WEB: _by_bytes(_WEB, _web_byte),
    Quoting.RAW: str,
}
