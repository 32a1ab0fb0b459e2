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


def from_arguments(queries: Iterable[str]) -> Iterator[Observation]:
    """Read arguments.

    Several of different types are one more observation, of all of them together: so
    matchRules and create-rule take `ip-dst=198.51.100.7 port=443`.

    Raises:
        ForeignError: one of them is not TYPE=VALUE; says which by its number.
    """
    given: list[Observation] = []
    for number, query in enumerate(queries, 1):
        try:
            given.append(observation(query, "="))
        except ValueError as error:
            raise ForeignError(
                Path(f"argument {number}"), None, str(error), "write domain=listed.example"
            ) from None
    yield from given
    single = all(len(seen.readings[0]) == 1 for seen in given)
    together = {name: text for seen in given for name, text in seen.readings[0].items()}
    if single and len(given) > 1 and len(together) == len(given):
        query = " ".join(seen.query for seen in given)
        yield Observation(query, (together,), is_joint=True)


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
