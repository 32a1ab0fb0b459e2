"""Foreign rules, and values to look up in them, that cannot be used."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from inkgate.config.errors import Unreadable
from inkgate.config.printable import printable

MAX_KEPT: Final = 20


class ForeignError(Unreadable):
    """Says which file, which line, what to do. Never holds a token, a key or a value."""

    def __init__(self, path: Path, line: int | None, problem: str, remedy: str) -> None:
        super().__init__(Path(printable(str(path))), line, problem, remedy)


class Unread:
    """Rules or values that cannot be used, beside others that can.

    Attributes:
        first: why, of the first few.
        count: how many there are in all.
    """

    def __init__(self) -> None:
        self.first: list[ForeignError] = []
        self.count = 0

    def add(self, error: ForeignError) -> None:
        """Take note of one."""
        self.count += 1
        if len(self.first) < MAX_KEPT:
            self.first.append(error)
