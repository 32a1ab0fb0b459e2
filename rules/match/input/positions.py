"""How far growing files were read, kept over the end of the process that reads them.

A position is that of the first line whose matches are not written yet. It is written after
each chunk that had matches, so a kill makes at most the lines of one chunk be matched twice;
of lines without matches it does not matter.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from inkgate.config.owner import as_owner
from inkgate.config.whole_file import write_whole
from inkgate.rules.match.errors import MatchError

_MODE: Final = 0o640
_MAX_BYTES: Final = 1 << 20
_WRITE_SECONDS: Final = 10.0


class Position(msgspec.Struct, frozen=True):
    """How far a file was read.

    Attributes:
        device, inode: which file it was, whatever its name is now.
        offset: in bytes from its beginning.
        length, digest: of the bytes before that; they tell a file that was cut off and has
            grown again, and a copy of it from before.
    """

    device: int
    inode: int
    offset: int
    length: int = 0
    digest: str = ""


class Positions:
    """The positions of the files of a run.

    Args:
        path: where they are kept; made when there is something to keep.

    Raises:
        MatchError: the file is there and cannot be read, or is not one of these.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known = self._read()
        self._written = time.monotonic()

    def of(self, name: str) -> Position | None:
        """How far a file was read; None if it never was."""
        return self._known.get(name)

    def reach(self, name: str, position: Position) -> Callable[[], None]:
        """What is to be called when all up to a position has been dealt with."""

        def reached() -> None:
            self._known[name] = position

        return reached

    def keep(self, *, at_once: bool) -> None:
        """Write them down.

        Args:
            at_once: not only every ten seconds.

        Raises:
            MatchError: they cannot be written.
        """
        now = time.monotonic()
        if not self._known or not (at_once or now - self._written > _WRITE_SECONDS):
            return
        self._written = now
        try:
            with as_owner(self._path.parent):
                write_whole(self._path, msgspec.json.encode(self._known), _MODE)
        except OSError as error:
            raise MatchError(f"{self._path}: {error.strerror}; see to its folder") from None

    def _read(self) -> dict[str, Position]:
        try:
            with as_owner(self._path.parent), self._path.open("rb") as file:
                data = file.read(_MAX_BYTES + 1)
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise MatchError(f"{self._path}: {error.strerror}; see to its mode") from None
        try:
            return msgspec.json.decode(data, type=dict[str, Position])
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            raise MatchError(
                f"{self._path}: is no file of positions; remove it to read all from the beginning"
            ) from None
