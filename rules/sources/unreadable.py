"""A source that cannot be read: which one, where, and what to do."""

from __future__ import annotations

from pathlib import Path


class Unreadable(Exception):  # noqa: N818 (a state of the file, said so in messages)
    """A source file is missing, cut off or not what it should be.

    The text never holds a value of an attribute.
    """

    def __init__(self, path: Path, line: int | None, problem: str, remedy: str) -> None:
        place = f"{path}:{line}" if line else f"{path}"
        super().__init__(f"{place}: {problem}; {remedy}")
        self.path = path
        self.line = line
        self.problem = problem
        self.remedy = remedy
