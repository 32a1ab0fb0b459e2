"""The one kind of error that a person who runs inkgate can mend."""

from __future__ import annotations

from pathlib import Path


class InkgateError(Exception):
    """Something outside the program is wrong: a file, a setting, a peer.

    Its text names the place, the problem and the remedy in one line, and never holds a
    token, a key or an indicator. Commands print it and end with status 2.
    """


class Unreadable(InkgateError):  # noqa: N818 (a state of the file, said so in messages)
    """A file or source is missing, cut off or not what it should be.

    The text never holds a value of an attribute.

    Args:
        is_note: whether it is only said, since nobody asked for that file to be read.
    """

    def __init__(
        self, path: Path, line: int | None, problem: str, remedy: str, *, is_note: bool = False
    ) -> None:
        place = f"{path}:{line}" if line else f"{path}"
        super().__init__(f"{place}: {problem}; {remedy}")
        self.path = path
        self.line = line
        self.problem = problem
        self.remedy = remedy
        self.is_note = is_note
