"""One indicator a line, with what people write around it: remarks, netmasks, words.

`type<TAB>value` names the type, if MISP has such a one. Of other lines with several words
the first is the indicator, if none of the others could be one, too.
"""

from __future__ import annotations

import re
from typing import Final

from inkgate.rules.canonical import class_of
from inkgate.rules.canonical.misp_types import is_misp_type
from inkgate.rules.sources.readers.lists.dialect import Dialect, Line, listed, refused
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
_HASH_REMARK: Final = re.compile(r"\s#")
_SEPARATORS: Final = re.compile(r"[\s,;|]+")
_QUAD: Final = re.compile(r"(?:\d{1,3}\.){3}\d{1,3}")
_DATES: Final = re.compile(r"\d{4}-\d\d-\d\d.*|\d\d[:.]\d\d.*|\d\d?[./]\d\d?[./]\d{4}")
# A number of this size beside a host is its port.
_WITH_PORT: Final = {"ip-dst": "ip-dst|port", "domain": "hostname|port"}
_DIGESTS: Final = ("md5", "sha1", "sha224", "sha256", "sha384", "sha512")
_PORTS: Final = 65_535
_PAIR: Final = 2
SEVERAL: Final = "several values in one line: name the columns, or give one a line"
UNKNOWN: Final = "neither a name, an address, a URL nor a digest"


def parse(text: str) -> Line:
    """What a line of an untyped list says."""
    if not _AROUND.search(text) and (kind := guess_type(text)):
        return Line(((kind, written(kind, text)),))
    typed = _TYPED.fullmatch(text)
    if typed and is_misp_type(typed[1].strip()):
        return typed_line(typed[1].strip(), typed[2])
    text = without_remark(text)
    if networks := networks_of_range(text):
        return listed("ip-dst", *networks)
    return _of_words(text)


def typed_line(misp_type: str, text: str) -> Line:
    """What a line says whose type is known: its whole text is the value, but for a remark."""
    if class_of(misp_type).kind == "text":
        # Such values hold signs and white space of their own.
        return listed(misp_type, _HASH_REMARK.split(text, maxsplit=1)[0].rstrip())
    text = without_remark(text)
    if misp_type in ("url", "link"):
        # No URL holds white space: what follows is a remark.
        text = text.split(maxsplit=1)[0] if _could_be([text.split(maxsplit=1)[0]]) else text
    if misp_type.startswith("ip-") and (networks := networks_of_range(text)):
        return listed(misp_type, *networks)
    return listed(misp_type, written(misp_type, text))


def without_remark(text: str) -> str:
    """The line without the remark at its end."""
    text = _REMARK.split(text, maxsplit=1)[0].rstrip()
    value, sign, _ = text.partition("#")
    # In a URL the sign begins its fragment.
    return value.rstrip() if sign and value and "/" not in value and guess_type(value) else text


def _of_words(text: str) -> Line:
    kind = guess_type(text)
    if kind:
        return listed(kind, written(kind, text))
    words = [word.strip("\"'") for word in _SEPARATORS.split(text) if word.strip("\"'")]
    if not words:
        return refused(UNKNOWN)
    if len(words) == _PAIR and (pair := _of_pair(*words)):
        return pair
    kind = guess_type(words[0])
    if _could_be(words[1:]):
        return refused(SEVERAL)
    return listed(kind, written(kind, words[0])) if kind else refused(UNKNOWN)


def _of_pair(first: str, second: str) -> Line | None:
    """Two words that belong together: address and netmask, host and port, digest and file."""
    if (
        _QUAD.fullmatch(first)
        and _QUAD.fullmatch(second)
        and (made := masked_network(first, second))
    ):
        return listed("ip-dst", made)
    kind = guess_type(first)
    if second.isdecimal() and kind in _WITH_PORT and int(second) <= _PORTS:
        return listed(_WITH_PORT[kind], f"{first}|{second}")
    if kind in _DIGESTS and ":" not in second:
        # As md5sum(1) writes it.
        return listed(kind, first)
    return None


def _could_be(words: list[str]) -> bool:
    return any(guess_type(word) and not _DATES.fullmatch(word) for word in words)


DIALECT: Final = Dialect("plain", parse)
