"""The lines of a CSV file for Python's reader, one after another and never much of it at once.

A file of 130 KB may be 64 MiB when it is unpacked, and its rows as Python's objects gigabytes.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from typing import Any, Final

from inkgate.rules.sources.readers.source_file import SourceFile

MAX_ROW: Final = 1 << 20
"""Characters of a row, over all of its lines."""
NO_CSV: Final = "a row that is no CSV, or too long"
_REMEDY: Final = "get the file again"
# Neither in quotes nor outside them; the reader refuses the row, and goes on behind it.
_TOO_LONG: Final = '"x"x\n'


class CsvLines:
    """A CSV file's lines. Who reads rows calls `begin_row` before each.

    Bytes that are no UTF-8 come as surrogates (PEP 383).

    Args:
        file: as below.

    Attributes:
        is_ended: whether the last one that was read has an end.
    """

    def __init__(self, file: SourceFile) -> None:
        self._lines = file.lines(MAX_ROW, with_ends=True)
        self._taken = 0
        self.is_ended = True
        csv.field_size_limit(MAX_ROW)

    def begin_row(self) -> None:
        """Count from here."""
        self._taken = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        self.is_ended = line.endswith("\n")
        self._taken += len(line)
        return _TOO_LONG if self._taken >= MAX_ROW else line


def check_whole(file: SourceFile, found: Iterable[object]) -> None:
    """See, the first time that a file is read, that all of its rows can be, and keep none.

    Raises:
        Unreadable: as from `rows`.
    """
    if not file.is_whole:
        for _ in found:
            pass
        file.is_whole = True


def rows(lines: CsvLines, reader: Any, file: SourceFile) -> Iterator[list[str] | None]:
    """The rows of a file; None for one that is no CSV.

    Args:
        reader: Python's, of these lines; strict.

    Raises:
        Unreadable: the file ends in a row, or is damaged.
    """
    while True:
        lines.begin_row()
        try:
            yield next(reader)
        except StopIteration:
            break
        except csv.Error as error:
            if "unexpected end" in str(error):
                problem = "is cut off in a quoted field"
                raise file.unreadable(problem, _REMEDY, reader.line_num) from None
            yield None
    if not lines.is_ended:
        raise file.unreadable("is cut off in its last row", _REMEDY, reader.line_num)
