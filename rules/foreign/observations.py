"""Values to look up: `TYPE=VALUE` from the command line, `TYPE<TAB>VALUE` a line from files."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Final

from inkgate.rules.foreign.errors import ForeignError
from inkgate.rules.foreign.plan import Observation

MAX_VALUES: Final = 1_000_000
MAX_LINE: Final = 16_384
_REMEDY: Final = "write TYPE<TAB>VALUE, for instance domain<TAB>listed.example"


def observation(text: str, mark: str) -> Observation:
    """An observation of a MISP type, a mark between type and value.

    Types with `|` have as many values.

    Raises:
        ValueError: there are not as many, or there is no mark.
    """
    misp_type, found, value = text.partition(mark)
    if not found:
        raise ValueError("is not a type and a value")
    names = misp_type.split("|")
    # A file name may contain `|`, so the value is split from its end.
    texts = value.strip().rsplit("|", len(names) - 1)
    if not all(names) or len(texts) != len(names) or not all(texts):
        raise ValueError(f"not {len(names)} values joined by '|'")
    return Observation(f"{misp_type}={value.strip()}", dict(zip(names, texts, strict=True)))


def from_arguments(queries: Iterable[str]) -> Iterator[Observation]:
    """Read arguments.

    Raises:
        ForeignError: one of them is not TYPE=VALUE; says which by its number.
    """
    for number, query in enumerate(queries, 1):
        try:
            yield observation(query, "=")
        except ValueError as error:
            raise ForeignError(
                Path(f"argument {number}"), None, str(error), "write domain=listed.example"
            ) from None


def from_file(path: Path) -> Iterator[Observation]:
    """Read a file, or standard input for `-`; empty lines and those after `#` are skipped.

    Raises:
        ForeignError: a line is not TYPE<TAB>VALUE, or there are more than a million.
    """
    if str(path) == "-":
        yield from _from_lines(sys.stdin.buffer, Path("standard input"))
        return
    with path.open("rb") as file:
        yield from _from_lines(file, path)


def _from_lines(file: BinaryIO, path: Path) -> Iterator[Observation]:
    for number, line in enumerate(iter(lambda: file.readline(MAX_LINE + 1), b""), 1):
        text = line.decode(errors="surrogateescape").strip()
        if not text or text.startswith("#"):
            continue
        if number > MAX_VALUES or len(line) > MAX_LINE:
            problem = f"is longer than {MAX_LINE:,} bytes or beyond {MAX_VALUES:,} lines"
            raise ForeignError(path, number, problem, "split the file")
        try:
            yield observation(text, "\t")
        except ValueError as error:
            raise ForeignError(path, number, str(error), _REMEDY) from None
