"""squid.conf as Squid reads it: all files in the order of their lines.

Access rules are tried in that order and the first that fits decides, so where a line stands
is what it means. Includes are followed as Squid follows them (sorted, at most 16 deep).
Lines between `if` and `endif` are all taken, and say that they depend on a condition: which
of them hold differs from one worker process to the next.
"""

from __future__ import annotations

import glob
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from inkgate.squid_conf.word import SquidConfError

MAX_DEPTH: Final = 16
MAX_LINES: Final = 1_000_000
MAX_FILE_BYTES: Final = 64 << 20
_WORD: Final = re.compile(r'"((?:[^"\\]|\\.)*)"|(\S+)')
# Squid puts the number or the name of the process, or of the service, in their places.
_MACRO: Final = re.compile(r"\$\{(?:process_number|process_name|service_name)\}")

Place = tuple[Path, int]
"""A file, and a line of it, counted from 1."""

Instead = Mapping[Path, bytes | None]
"""What files, by their real paths, are to hold once they are changed; None: they are gone."""

_AS_THEY_ARE: Final[Instead] = {}


class Line(NamedTuple):
    """One directive.

    Attributes:
        file, number: where it stands; lines are counted from 1.
        name: the directive, for instance `http_access`.
        words: what follows, without quotes.
        included: the include lines that lead here, outermost first.
        conditions: the `if` lines that it depends on, outermost first.
        text: as it stands in the file.
    """

    file: Path
    number: int
    name: str
    words: tuple[str, ...]
    included: tuple[Place, ...] = ()
    conditions: tuple[Place, ...] = ()
    text: str = ""

    @property
    def place(self) -> str:
        """File and line, for a message."""
        return f"{self.file}:{self.number}"

    @property
    def said(self) -> str:
        """The directive with its words, as one short line for a message."""
        text = " ".join((self.name, *self.words))
        return text if len(text) <= 120 else f"{text[:117]}…"

    def anchor(self, file: Path) -> int | None:
        """The line of a file before which all that this one depends on begins.

        None if nothing of that file leads here.
        """
        places = (*self.included, *self.conditions, (self.file, self.number))
        return min((number for path, number in places if path == file), default=None)


def read_configuration(path: Path, instead: Instead = _AS_THEY_ARE) -> list[Line]:
    """All directives, in Squid's order.

    Args:
        path: squid.conf.
        instead: what to take in place of files that lie there.

    Raises:
        SquidConfError: a file cannot be read, or they include each other without end.
    """
    reader = _Reader(instead)
    reader.read(path, ())
    return reader.lines


class _Reader:
    """Follows includes; which `if` is open does not end with a file."""

    def __init__(self, instead: Instead) -> None:
        self._instead = instead
        self.lines: list[Line] = []
        self._open: list[Place] = []

    def read(self, path: Path, included: tuple[Place, ...]) -> None:
        if len(included) > MAX_DEPTH:
            raise SquidConfError(f"{path}: includes are more than {MAX_DEPTH} deep; take one out")
        for number, text in _joined(text_of(path, self._instead, included)):
            if words := tuple(_words(text)):
                self._take(path, number, words, text, included)

    def _take(
        self,
        path: Path,
        number: int,
        words: tuple[str, ...],
        text: str,
        included: tuple[Place, ...],
    ) -> None:
        match words[0]:
            case "if":
                self._open.append((path, number))
            case "endif":
                del self._open[-1:]
            case "else":
                pass
            case "include":
                for name in included_files(words[1:], f"{path}:{number}", self._instead):
                    self.read(name, (*included, (path, number)))
            case name:
                conditions = tuple(self._open)
                self.lines.append(
                    Line(path, number, name, words[1:], included, conditions, text.strip())
                )
                if len(self.lines) > MAX_LINES:
                    raise SquidConfError(
                        f"{path}: more than {MAX_LINES} lines; this is not a squid.conf"
                    )


def included_files(patterns: Iterable[str], place: str, instead: Instead) -> Iterator[Path]:
    """The files that an include line means, in Squid's order.

    Args:
        place: file and line of the include.
        instead: what to take in place of files that lie there.

    Raises:
        SquidConfError: there is none. Squid ends then, also at a reconfiguration.
    """
    for pattern in patterns:
        # A pattern with a path of any kind, which Path.glob does not take.
        names = glob.glob(_MACRO.sub("*", pattern))  # noqa: PTH207
        found = {Path(name) for name in names}
        found |= {path for path in instead if str(path) == pattern}
        left = [path for path in sorted(found) if instead.get(path.resolve(), b"") is not None]
        if not left:
            raise SquidConfError(
                f"{place}: includes {pattern}, which is not there: Squid ends at its next start; "
                "bring the file back (inkgate's own: run inkgate squid install), or take the "
                "line out"
            )
        yield from left


def text_of(path: Path, instead: Instead, included: tuple[Place, ...] = ()) -> str:
    """A file's text, or what is to be taken in its place.

    Raises:
        SquidConfError: it cannot be read.
    """
    data = instead.get(path.resolve()) if instead else None
    return (_content(path, included) if data is None else data).decode("utf-8", "surrogateescape")


def _content(path: Path, included: tuple[Place, ...]) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        by = f" (included at {included[-1][0]}:{included[-1][1]})" if included else ""
        raise SquidConfError(
            f"{path}: {error.strerror}{by}; give the right file with --squid-conf, or run as root"
        ) from None
    if len(data) > MAX_FILE_BYTES:
        raise SquidConfError(f"{path}: is larger than 64 MiB; this is not a squid.conf")
    return data


def _joined(text: str) -> Iterator[tuple[int, str]]:
    """Lines with those that a backslash continues, each with the number of its first.

    As Squid has it, comments and empty lines among them do not end the continued one.
    """
    begun, first = "", 0
    for number, raw in enumerate(text.split("\n"), start=1):
        line = raw.rstrip("\r")
        if not line or line.startswith("#"):
            continue
        first = first or number
        if line.endswith("\\"):
            begun += line[:-1]
            continue
        yield first, begun + line
        begun, first = "", 0
    if begun:
        yield first, begun


def _words(text: str) -> Iterator[str]:
    for found in _WORD.finditer(text):
        if found[2] is not None and found[2].startswith("#"):
            return
        yield found[1] if found[1] is not None else found[2]
