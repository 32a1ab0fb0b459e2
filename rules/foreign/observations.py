"""Values to look up: `TYPE=VALUE` from the command line, `TYPE<TAB>VALUE` a line from files."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from inkgate.rules.canonical.classes import CLASSES
from inkgate.rules.canonical.misp_types import MISP_TYPES
from inkgate.rules.foreign.errors import ForeignError, Unread
from inkgate.rules.foreign.plan import Observation

MAX_VALUES: Final = 1_000_000
MAX_LINE: Final = 16_384
_REMEDY: Final = "write TYPE<TAB>VALUE, for instance domain<TAB>listed.example"


class Reader(NamedTuple):
    """Reads values to look up. One that cannot be used does not end the batch, as with grep.

    Attributes:
        types: that the rules have, besides MISP's.
        unread: where values are noted that cannot be used.
    """

    types: Collection[str]
    unread: Unread

    def arguments(self, queries: Iterable[str]) -> Iterator[Observation]:
        """Read arguments.

        Several of different types are one more observation, of all of them together: so
        matchRules and create-rule take `ip-dst=198.51.100.7 port=443`.
        """
        given: list[Observation] = []
        for number, query in enumerate(queries, 1):
            try:
                given.append(self._observation(query, "="))
            except ValueError as error:
                place = Path(f"argument {number}")
                self.unread.add(
                    ForeignError(place, None, str(error), "write domain=listed.example")
                )
        yield from given
        single = all(len(seen.readings[0]) == 1 for seen in given)
        together = {name: text for seen in given for name, text in seen.readings[0].items()}
        if single and len(given) > 1 and len(together) == len(given):
            query = " ".join(seen.query for seen in given)
            yield Observation(query, (together,), is_joint=True)

    def file(self, path: Path) -> Iterator[Observation]:
        """Read a file, or standard input for `-`; empty lines and those after `#` are skipped.

        Raises:
            ForeignError: there are more than a million lines.
            OSError: it cannot be read.
        """
        if str(path) == "-":
            yield from self._lines(sys.stdin.buffer, Path("standard input"))
            return
        with path.open("rb") as file:
            yield from self._lines(file, path)

    def _lines(self, file: BinaryIO, path: Path) -> Iterator[Observation]:
        for number, line in enumerate(_short_lines(file), 1):
            if number > MAX_VALUES:
                problem = f"has more than {MAX_VALUES:,} lines"
                raise ForeignError(path, number, problem, "split the file")
            text = line.decode(errors="surrogateescape").strip()
            if not text or text.startswith("#"):
                continue
            if len(line) > MAX_LINE:
                problem = f"is longer than {MAX_LINE:,} bytes"
                self.unread.add(ForeignError(path, number, problem, _REMEDY))
                continue
            try:
                yield self._observation(text, "\t")
            except ValueError as error:
                self.unread.add(ForeignError(path, number, str(error), _REMEDY))

    def _observation(self, text: str, mark: str) -> Observation:
        seen = observation(text, mark)
        name = text.partition(mark)[0]
        # Rules for several values know the types of each.
        if not (self._is_known(name) or all(map(self._is_known, name.split("|")))):
            near = get_close_matches(name.lower(), [*CLASSES, *MISP_TYPES], 1)
            meant = f" (do you mean {near[0]}?)" if near else ""
            raise ValueError(f"its type is none of MISP's, nor of these rules{meant}")
        return seen

    def _is_known(self, name: str) -> bool:
        return name in MISP_TYPES or name in CLASSES or name in self.types


def _short_lines(file: BinaryIO) -> Iterator[bytes]:
    """Lines; of one that is too long its beginning, which is longer than it may be."""
    while line := file.readline(MAX_LINE + 1):
        yield line
        while line and not line.endswith(b"\n"):
            line = file.readline(MAX_LINE + 1)


def observation(text: str, mark: str) -> Observation:
    """An observation of a MISP type, a mark between type and value.

    Types with `|` have as many values. Where the value has more `|`, it is read with the
    further ones in its first value, in its last one, and cut off, as the thesis's readMisp
    does.

    Raises:
        ValueError: there are not as many, or there is no mark.
    """
    misp_type, found, value = text.partition(mark)
    if not found:
        raise ValueError("is not a type and a value")
    names = misp_type.split("|")
    value = value.strip()
    readings = _readings(value, len(names))
    if not all(names) or not readings:
        raise ValueError(f"not {len(names)} values joined by '|'")
    return Observation(
        f"{misp_type}={value}",
        tuple(dict(zip(names, texts, strict=True)) for texts in readings),
    )


def _readings(value: str, parts: int) -> list[tuple[str, ...]]:
    if parts == 1:
        return [(value,)] if value else []
    ways = (
        value.rsplit("|", parts - 1),
        value.split("|", parts - 1),
        value.split("|", parts)[:parts],
    )
    return [
        texts for texts in dict.fromkeys(map(tuple, ways)) if len(texts) == parts and all(texts)
    ]
