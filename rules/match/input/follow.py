"""Files that grow: what `tail -F` does, over rename, truncation and files not there yet."""

from __future__ import annotations

import glob
import os
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from inkgate.config.printable import Log
from inkgate.rules.match.errors import MatchError
from inkgate.rules.match.input.chunks import BLOCK, Chunk, Chunker
from inkgate.rules.match.input.files import IDLE_SECONDS, Chunks, opener_of, unreadable
from inkgate.rules.match.input.positions import Position, Positions
from inkgate.rules.match.logs.log_format import FormatError


class Followed:
    """One file, by its name.

    Args:
        path: the name; the file may come later, and be replaced at any time.
        position: how far it was read before; None to begin at the beginning.
        log: takes one line.
    """

    def __init__(self, path: str, position: Position | None, log: Log) -> None:
        self.path = path
        self._file: BinaryIO | None = None
        self._unfinished = 0
        self._log = log
        if position is not None:
            self._resume(position)

    @property
    def position(self) -> Position | None:
        """Where the first line begins that was not read to its end; None if no file is open."""
        if self._file is None:
            return None
        found = os.fstat(self._file.fileno())
        offset = max(0, self._file.tell() - self._unfinished)
        return Position(found.st_dev, found.st_ino, offset)

    def read(self) -> bytes:
        """What has been added, up to a block; nothing if nothing was.

        Raises:
            MatchError: it is compressed, or may not be read.
        """
        block = self._read()
        newline = block.rfind(b"\n")
        self._unfinished = (
            self._unfinished + len(block) if newline < 0 else len(block) - newline - 1
        )
        return block

    def _read(self) -> bytes:
        """What has been added.

        A file that was renamed is read to its end before its successor is begun, and one
        that was cut is read from its beginning.

        Raises:
            MatchError: it is compressed, or may not be read.
        """
        if self._file is None and not self._open():
            return b""
        assert self._file is not None  # noqa: S101 (`_open` has set it)
        if block := self._file.read(BLOCK):
            return block
        if os.fstat(self._file.fileno()).st_size < self._file.tell():
            self._file.seek(0)
        elif self._is_replaced():
            # More lines may have been written between the last read and the renaming.
            if block := self._file.read(BLOCK):
                return block
            self.close()
            if self._open():
                # The last line of the old file ends here, even without a newline.
                return b"\n" + self._file.read(BLOCK)
            return b"\n"
        return self._file.read(BLOCK)

    def close(self) -> None:
        """Close it; the next `read` opens whatever has its name then."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _resume(self, position: Position) -> None:
        """Go on where a file was left, whose name a rotation may have changed since."""
        place = Path(self.path)
        for path in (place, *sorted(place.parent.glob(f"{glob.escape(place.name)}.*"))):
            try:
                found = path.lstat()
            except OSError:
                continue
            is_it = (found.st_dev, found.st_ino) == (position.device, position.inode)
            if is_it and stat.S_ISREG(found.st_mode) and found.st_size >= position.offset:
                if self._open(path):
                    assert self._file is not None  # noqa: S101 (`_open` has set it)
                    self._file.seek(position.offset)
                return
        self._log(
            f"{self.path}: the file that was read before is gone: what was added to it since is "
            "not matched, and the present one is read from its beginning"
        )

    def _open(self, path: Path | None = None) -> bool:
        try:
            file = (path or Path(self.path)).open("rb", buffering=0)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise MatchError(f"{self.path}: {error.strerror}; check its mode") from None
        beginning = file.read(6)
        file.seek(0)
        if opener_of(beginning):
            file.close()
            raise MatchError(f"{self.path}: is compressed; match it without --follow")
        self._file = file
        return True

    def _is_replaced(self) -> bool:
        assert self._file is not None  # noqa: S101 (`read` has checked it)
        mine = os.fstat(self._file.fileno())
        try:
            named = os.stat(self.path)  # noqa: PTH116 (beside fstat)
        except OSError:
            return False
        return (mine.st_dev, mine.st_ino) != (named.st_dev, named.st_ino)


def followed_chunks(
    paths: tuple[str, ...],
    format: str,  # noqa: A002
    stop: Callable[[], bool],
    positions: Positions | None,
    log: Log,
    *,
    until_idle: bool = False,
) -> Chunks:
    """Lines of files as they come, until `stop` returns True.

    Args:
        positions: where they were left; None to begin at their beginnings.
        log: takes one line.
        until_idle: end when nothing more is there.

    Raises:
        MatchError: a file may not be read, is compressed, or has no known format.
    """
    files = [
        (Followed(path, positions.of(path) if positions else None, log), Chunker(path, format))
        for path in paths
    ]
    try:
        while not stop():
            came = False
            for file, chunker in files:
                if block := file.read():
                    came = True
                    yield from _kept(chunker.feed(block), file, positions)
            yield None
            if not came:
                if until_idle:
                    break
                time.sleep(IDLE_SECONDS)
        # The next run reads a line that is not whole from its beginning.
        for _, chunker in files if positions is None else ():
            yield from chunker.finish()
    except FormatError as error:
        raise unreadable(" ".join(paths), error) from None
    finally:
        for file, _ in files:
            file.close()


def _kept(chunks: Iterator[Chunk], file: Followed, positions: Positions | None) -> Iterator[Chunk]:
    """Chunks that, once they are dealt with, have their file's position noted."""
    for chunk in chunks:
        position = file.position
        if positions is None or position is None:
            yield chunk
        else:
            yield chunk._replace(acknowledge=positions.reach(file.path, position))
