"""One indicator a line, with what people write around it: remarks, netmasks, words.

`type<TAB>value` names the type, if MISP has such a one. Of other lines with several words
the first is the indicator, if none of the others could be one, too.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from inkgate.rules.canonical import class_of
from inkgate.rules.canonical.misp_types import is_misp_type
from inkgate.rules.sources.readers.lists.dialect import REMARK, Dialect, Line, listed, refused
from inkgate.rules.sources.readers.lists.guess import (
    guess_type,
    masked_network,
    networks_of_range,
    written,
)

# What stands around a value, or sets it apart from others.
_AROUND: Final = re.compile(r"[\s#]")
_TYPED: Final = re.compile(r"([^\t]+)\t(\S.*)")
# A remark's sign after white space; glued to a value it is one only where no URL may hold it.
_REMARK: Final = re.compile(r"\s(?:#|;|//|!)")
# Of a text that may hold signs of its own, only this is one.
_HASH_REMARK: Final = re.compile(r"\s#+(?:\s|$)")
_HASH: Final = re.compile(r"\s#")
_SPACE: Final = re.compile(r"\s")
_SEPARATORS: Final = re.compile(r"[\s,;|]+")
_QUAD: Final = re.compile(r"(?:\d{1,3}\.){3}\d{1,3}")
_DATES: Final = re.compile(r"\d{4}-\d\d-\d\d.*|\d\d[:.]\d\d.*|\d\d?[./]\d\d?[./]\d{4}")
# A number in a column of its own is a count, a score or a year as often as a port.
_PORT: Final = re.compile(r"([^\s,;|]+)\|(\d{1,5})(?![^\s,;])")
_WITH_PORT: Final = {"ip-dst": "ip-dst|port", "domain": "hostname|port"}
_QUOTED: Final = re.compile(r"""(?:"[^"]*"|'[^']*')(?=[\s,;|]|$)""")
# Signs that part columns, and that a URL may hold as well.
_COLUMNS: Final = re.compile(r"[,;|]")
# What a word holds that may be the rest of a URL with white space in it.
_OF_A_PATH: Final = re.compile(r"[/?&=%]")
_DIGESTS: Final = ("md5", "sha1", "sha224", "sha256", "sha384", "sha512")
_PORTS: Final = 65_535
_PAIR: Final = 2
SEVERAL: Final = "several values in one line: name the columns, or give one a line"
MORE: Final = "a URL and perhaps further columns: name the columns, or write its `,` as %2C"
BLANK: Final = "a URL and words that may be the rest of it: write its white space as %20"
SLASHES: Final = "a remark, or a URL without its scheme: write the scheme"
HASH: Final = "a # that may begin a remark: set white space behind it, if it does"
UNKNOWN: Final = "neither a name, an address, a URL nor a digest"


def parse(text: str) -> Line:
    """What a line of an untyped list says."""
    if not _AROUND.search(text) and (alone := _alone(text)):
        return alone
    typed = _TYPED.fullmatch(text)
    if typed and is_misp_type(typed[1].strip()):
        return typed_line(typed[1].strip(), typed[2])
    text = without_remark(text)
    if networks := networks_of_range(text):
        return listed("ip-dst", *networks)
    return _of_words(text)


def typed_line(misp_type: str, text: str) -> Line:
    """What a line says whose type is known: its whole text is the value, but for a remark."""
    if begins_with_text(misp_type):
        text = _HASH_REMARK.split(text, maxsplit=1)[0].rstrip()
        return refused(HASH) if _HASH.search(text) else listed(misp_type, text)
    text = without_remark(text)
    if misp_type in ("url", "link"):
        first, *others = text.split() or [text]
        # Words behind a URL are a remark; what may be the rest of it is refused with it.
        text = first if guess_type(first) == "url" and not _may_go_on(others) else text
    if misp_type.startswith("ip-") and (networks := networks_of_range(text)):
        return listed(misp_type, *networks)
    return listed(misp_type, written(misp_type, text))


def remark(text: str) -> Line:
    """What a line says that begins with a remark's sign."""
    # Not all that begins with `//` is one.
    is_url = text.startswith("//") and guess_type(text[2:]) == "url"
    return refused(SLASHES) if is_url else REMARK


def begins_with_text(misp_type: str) -> bool:
    """Whether values of a type may hold signs and white space of their own."""
    return class_of(misp_type).forms[0].kind == "text"


def without_remark(text: str) -> str:
    """The line without the remark at its end."""
    text = _REMARK.split(text, maxsplit=1)[0].rstrip()
    value, sign, _ = text.partition("#")
    # In a URL the sign begins its fragment.
    return value.rstrip() if sign and value and "/" not in value and guess_type(value) else text


def _of_words(text: str) -> Line:
    if alone := _alone(text):
        return alone
    words = _words(text)
    if len(words) == _PAIR and (pair := _of_pair(*words)):
        return pair
    if _could_be(words[1:]):
        return refused(SEVERAL)
    return _with_port(text) or (words and _of_first(*words)) or refused(UNKNOWN)


def _of_first(first: str, *others: str) -> Line | None:
    """A value with a remark behind it."""
    if guess_type(first) == "url" and _may_go_on(others):
        return refused(BLANK)
    return _alone(first)


def _alone(text: str) -> Line | None:
    """A value that is all of a line, perhaps in quotes; None if it is not one value."""
    kind = guess_type(text)
    bare = text.strip("\"'")
    if kind == "url" and _COLUMNS.search(bare):
        if not _is_url(bare):
            return None
        if _may_have_columns(bare) and not _QUOTED.fullmatch(text):
            return refused(MORE)
    return Line(((kind, written(kind, bare)),)) if kind else None


def _words(text: str) -> list[str]:
    """What stands in a line. Signs in quotes or in a URL part nothing."""
    quoted = _QUOTED.match(text)
    first = quoted[0] if quoted else _SPACE.split(text, maxsplit=1)[0]
    if not quoted and not _is_url(first):
        return _parted(text)
    return [first, *_parted(text[len(first) :])]


def _parted(text: str) -> list[str]:
    return [word.strip("\"'") for word in _SEPARATORS.split(text) if word.strip("\"'")]


def _is_url(text: str) -> bool:
    """Whether a word is a URL, and no network with further columns."""
    return guess_type(text) == "url" == guess_type(_COLUMNS.split(text, maxsplit=1)[0])


def _may_have_columns(url: str) -> bool:
    """Whether a URL may be the first of several columns: headerless CSV looks like one."""
    return any(
        guess_type(field) or not ("=" in field or "/" in field) for field in _COLUMNS.split(url)[1:]
    )


def _may_go_on(words: Sequence[str]) -> bool:
    """Whether words behind a URL may be the rest of it."""
    return any(_OF_A_PATH.search(word) and not _DATES.fullmatch(word) for word in words)


def _with_port(text: str) -> Line | None:
    """A host with its port, as MISP writes them."""
    found = _PORT.match(text)
    kind = guess_type(found[1]) if found else ""
    if not found or kind not in _WITH_PORT or int(found[2]) > _PORTS:
        return None
    return listed(_WITH_PORT[kind], f"{found[1]}|{found[2]}")


def _of_pair(first: str, second: str) -> Line | None:
    """Two words that belong together: address and netmask, digest and file."""
    if (
        _QUAD.fullmatch(first)
        and _QUAD.fullmatch(second)
        and (made := masked_network(first, second))
    ):
        return listed("ip-dst", made)
    kind = guess_type(first)
    if kind in _DIGESTS and ":" not in second:
        # As md5sum(1) writes it.
        return listed(kind, first)
    return None


def _could_be(words: list[str]) -> bool:
    return any(guess_type(word) and not _DATES.fullmatch(word) for word in words)


DIALECT: Final = Dialect("plain", parse)
