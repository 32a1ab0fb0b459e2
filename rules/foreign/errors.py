"""A foreign rule file that cannot be used."""

from __future__ import annotations

from pathlib import Path

from inkgate.config.errors import Unreadable
from inkgate.config.printable import printable


class ForeignError(Unreadable):
    """Says which file, which line, what to do. Never holds a token, a key or a value."""

    def __init__(self, path: Path, line: int | None, problem: str, remedy: str) -> None:
        super().__init__(Path(printable(str(path))), line, problem, remedy)
