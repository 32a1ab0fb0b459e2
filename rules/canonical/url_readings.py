"""The ways in which clients and servers read one path (docs/format.md, section 2.3).

They agree on nearly all paths. Where `..` stands behind an empty segment, a backslash or an
escaped slash, or a segment has parameters, one program asks for, or delivers, another file than
the next. Which of them a request meets nobody can see in it: a listed file is looked up under
every reading.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from posixpath import normpath
from typing import Final, NamedTuple

from inkgate.rules.canonical.escapes import unescape_once

ALL: Final = -1
_PARAMETERS: Final = re.compile(rb";[^/]*")


class Reading(NamedTuple):
    """How a program resolves `.` and `..`.

    Attributes:
        layers: of percent-escapes that are undone before; `ALL` of them.
        is_merging: whether a run of slashes is one slash, before.
        has_backslashes: whether a backslash separates segments as a slash does.
        has_parameters: whether what follows a `;` is no part of a segment.
        ends_in_files: whether a slash or dot at the end counts only if it was written so.
    """

    layers: int
    is_merging: bool
    has_backslashes: bool
    has_parameters: bool = False
    ends_in_files: bool = False


BROWSERS: Final = Reading(0, is_merging=False, has_backslashes=True)
"""WHATWG URL, section 4.4: how browsers write a path before they ask for it."""

BY_0_1: Final = Reading(ALL, is_merging=True, has_backslashes=True)
"""inkgate until 0.1, whose rule sets may still be in use."""

READINGS: Final = (
    BROWSERS,
    BY_0_1,
    # curl, and RFC 3986, section 5.2.4.
    Reading(0, is_merging=False, has_backslashes=False),
    # Apache, which undoes no `%2f`.
    Reading(0, is_merging=True, has_backslashes=False),
    # nginx.
    Reading(1, is_merging=True, has_backslashes=False),
    # Python's http.server.
    Reading(1, is_merging=True, has_backslashes=False, ends_in_files=True),
    # IIS.
    Reading(1, is_merging=True, has_backslashes=True),
    # nginx with merge_slashes off, lighttpd.
    Reading(1, is_merging=False, has_backslashes=False),
    # Tomcat and Jetty; a file that is asked for by ftp with its `;type=`.
    Reading(1, is_merging=True, has_backslashes=False, has_parameters=True),
)
"""One a line, with whose it is. Each is a look-up more where it differs."""

_ESCAPED_DOT: Final = re.compile(r"/%2[Ee](?=/|\Z)")
_ESCAPED_DOTS: Final = re.compile(r"/(?:\.%2[Ee]|%2[Ee]\.|%2[Ee]%2[Ee])(?=/|\Z)")
_FOLDERS: Final = ("", ".", "..")
# No byte of a path: what stands for an empty segment, and for a NUL where Python's `normpath` does
# not read on after one.
_EMPTY: Final = "\u0100"
_NUL: Final = "\u0101"
_READS_ON: Final = normpath("/a\0b") == "/a\0b"
_ENDS: Final = (b"/", b"/.", b"/..")


def readings_of(path: bytes, plain: bytes) -> Iterator[str]:
    """A path with its `.` and `..` resolved, once for each reading; more than once the same.

    Args:
        path: as it was sent, escapes and all.
        plain: it with slashes for backslashes, and all layers of escapes undone in each segment.

    Yields:
        paths as `byte_text` has them, in which a backslash separates nothing: those that do are
        slashes. What is left of empty segments decides nothing.
    """
    slashed = path.replace(b"\\", b"/")
    has_odd_end = plain.endswith(_ENDS) and not path.endswith(b"/")
    if not has_odd_end and b".." not in plain and b";" not in plain:
        yield byte_text(slashed)
        return
    by_layers = {0: path, 1: unescape_once(path), ALL: plain}
    told: set[tuple[bytes, bool, bool]] = set()
    for reading in READINGS:
        text = _separated(by_layers[reading.layers], reading)
        key = (text, reading.is_merging and b"//" in text, reading.ends_in_files)
        if key not in told and (has_odd_end or not reading.ends_in_files):
            told.add(key)
            yield _without_dots(text, reading)


def read_by_browsers(path: bytes) -> str:
    """A path as browsers ask for it."""
    return _without_dots(_separated(path, BROWSERS), BROWSERS)


def read_by_0_1(plain: bytes) -> str:
    """A path without backslashes and escapes as inkgate until 0.1 sealed it."""
    return _without_dots(plain, BY_0_1)


def resolved(path: str) -> str:
    """A path without escapes of dots when `.`, `..` and empty segments are resolved."""
    if "//" not in path and "/." not in path:
        return path
    # Its time is linear in the length and a hundredth of a loop's, for a path of many segments.
    found = normpath("/" + path.lstrip("/"))
    is_folder = path.rpartition("/")[2] in _FOLDERS
    return found + "/" if is_folder and found != "/" else found


def _separated(path: bytes, reading: Reading) -> bytes:
    """A path, with so many escapes undone as a reading does, in which slashes alone separate."""
    if reading.has_parameters:
        path = _PARAMETERS.sub(b"", path)
    if reading.has_backslashes and reading.layers != ALL:
        path = path.replace(b"\\", b"/")
    return path


def byte_text(data: bytes) -> str:
    """Bytes as characters, one each, for `normpath`."""
    text = data.decode("latin-1")
    return text if _READS_ON else text.replace("\0", _NUL)


def bytes_of(text: str) -> bytes:
    """What `byte_text` was made of."""
    return (text if _READS_ON else text.replace(_NUL, "\0")).encode("latin-1")


def _without_dots(path: bytes, reading: Reading) -> str:
    text = byte_text(path)
    text = text[text.find("/") :] if "/" in text else "/"
    if "%2e" in text or "%2E" in text:
        text = _ESCAPED_DOT.sub("/.", _ESCAPED_DOTS.sub("/..", text))
    if reading.is_merging or "//" not in text:
        text = resolved(text)
    else:
        # Twice, as each replaces every second one of a run. What is left of them is merged
        # in the canonical form.
        text = text.replace("//", f"/{_EMPTY}/").replace("//", f"/{_EMPTY}/")
        text = resolved(text).replace(f"/{_EMPTY}", "") or "/"
    return text.rstrip("/") or "/" if reading.ends_in_files else text
