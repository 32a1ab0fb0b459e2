"""Plain lists: one indicator a line, as Squid operators and feeds without MISP keep them.

Read are also lines of a hosts file (`0.0.0.0 name`), of a dstdomain list (`.name`)
and `type<TAB>value`. What follows ` #` is a remark.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Final, cast

from inkgate.config.errors import Unreadable
from inkgate.rules.sources.attribute import Attribute
from inkgate.rules.sources.readers.file_format import FileFormat

_REMEDY: Final = "get the list again"
_SUFFIXES: Final = (".txt", ".list", ".lst", ".hosts", ".dstdomain")
_MAX_LINE: Final = 16_384
_COMMENTS: Final = ("#", ";", "//", "!")
_DIGESTS: Final = {32: "md5", 40: "sha1", 56: "sha224", 64: "sha256", 96: "sha384", 128: "sha512"}
_QUAD: Final = r"(?:\d{1,3}\.){3}\d{1,3}"
_DOT: Final = r"(?:\.|\[\.\]|\(\.\)|\[dot\])"
_ADDRESS: Final = re.compile(rf"{_QUAD}(?:/\d{{1,2}})?")
_ADDRESS_PORT: Final = re.compile(rf"({_QUAD}|\[[0-9a-fA-F:.]+\]):(\d{{1,5}})")
_ADDRESS6: Final = re.compile(r"\[?[0-9a-fA-F:.]*:[0-9a-fA-F:.]*:[0-9a-fA-F:.]*\]?(?:/\d{1,3})?")
_NAME: Final = re.compile(rf"[.*]{{0,2}}[^\s/:@?#|]+{_DOT}[^\s/:@?#|]+", re.IGNORECASE)
_NAME_PORT: Final = re.compile(r"([^\s/:@?#|]+\.[^\s/:@?#|]+):(\d{1,5})")
_HEX: Final = re.compile(r"[0-9a-fA-F]+")
_TYPED: Final = re.compile(r"([a-z0-9][a-z0-9|/.-]{1,40})\t(\S.*)", re.IGNORECASE)
_HOSTS_LINE: Final = re.compile(r"(?:0\.0\.0\.0|127\.0\.0\.1|::1?)[ \t]+(\S+)\s*")
_EMAIL: Final = re.compile(r"[^\s/@]+@[^\s/@]+\.[^\s/@]+")
_OPENERS: Final[dict[str, Callable[[Path], object]]] = {
    ".gz": gzip.GzipFile,
    ".xz": lzma.LZMAFile,
    ".bz2": bz2.BZ2File,
}
COMPRESSED: Final = frozenset(_OPENERS)
# In this order: what an earlier pattern takes, a later one would take for something else.
_GUESSES: Final = (
    (_ADDRESS, "ip-dst"),
    (_NAME, "domain"),
    (_ADDRESS6, "ip-dst"),
    (_ADDRESS_PORT, "ip-dst|port"),
    (_NAME_PORT, "hostname|port"),
)


def read_plain_list(path: Path, misp_type: str = "") -> Iterator[Attribute]:
    """All indicators of a list, which may be compressed (gz, xz, bz2 by its suffix).

    Args:
        misp_type: the type of every line; guessed line by line if it is empty. What
            cannot be guessed comes without a type, and is refused where it is sealed.

    Raises:
        Unreadable: it cannot be opened, or is damaged; then not one line was given.
    """
    if path.suffix in _OPENERS:
        _check_whole(path)
    name = os.fsencode(path.name).decode("utf-8", "replace")
    number = 0
    try:
        with _open(path) as file:
            for number, line in enumerate(_lines(file), 1):
                text = _content(line)
                if text:
                    yield _attribute(text, misp_type, name, number)
    except (OSError, EOFError, lzma.LZMAError) as error:
        raise Unreadable(path, number + 1, _problem(error), _REMEDY) from None


def guess_type(text: str) -> str:
    """The MISP type that a lone value most likely has; empty if it could be anything."""
    for pattern, misp_type in _GUESSES:
        if pattern.fullmatch(text):
            return misp_type
    if _HEX.fullmatch(text):
        return _DIGESTS.get(len(text), "")
    if text.startswith("/"):
        return "uri"
    if "/" in text:
        return "url"
    return "email" if _EMAIL.fullmatch(text) else ""


def _attribute(text: str, misp_type: str, name: str, number: int) -> Attribute:
    if not misp_type and (typed := _TYPED.fullmatch(text)):
        misp_type, text = typed[1], typed[2]
    kind = misp_type or guess_type(text)
    if kind.endswith("|port") and "|" not in text:
        # Brackets belong to an IPv6 address in a URL, not to the value.
        host, _, port = text.rpartition(":")
        text = f"{host.strip('[]')}|{port}"
    return Attribute(
        type=kind, value=text, uuid="", to_ids=True, source=name, place=f"{name}:{number}"
    )


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """Lines, of which an endless one is cut: what is left is too long to be taken for a value."""
    while line := file.readline(_MAX_LINE):
        yield line
        while len(line) == _MAX_LINE and not line.endswith(b"\n"):
            line = file.readline(_MAX_LINE)


def _content(line: bytes) -> str:
    text = line.decode("utf-8", "surrogateescape").strip("\ufeff \t\r\n\v\f")
    if text.startswith(_COMMENTS):
        return ""
    if " #" in text or "\t#" in text:
        text = re.split(r"\s#", text, maxsplit=1)[0].rstrip()
    if " " in text or "\t" in text:
        hosts = _HOSTS_LINE.fullmatch(text)
        if hosts:
            return hosts[1]
    return text


def _open(path: Path) -> BinaryIO:
    opener = _OPENERS.get(path.suffix)
    return cast(BinaryIO, opener(path)) if opener else path.open("rb")


def _check_whole(path: Path) -> None:
    try:
        with _open(path) as file:
            while file.read(1 << 20):
                pass
    except (OSError, EOFError, lzma.LZMAError) as error:
        raise Unreadable(path, None, _problem(error), _REMEDY) from None


def _problem(error: Exception) -> str:
    if isinstance(error, EOFError):
        return "is cut off"
    return getattr(error, "strerror", None) or "is damaged"


def _is_anything(_: Path) -> bool:
    return True


FORMAT: Final = FileFormat("plain list", _SUFFIXES, _is_anything, read_plain_list)
