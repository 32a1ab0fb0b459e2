"""Files that grow: what `tail -F` does, over rename, truncation and files not there yet."""

from __future__ import annotations

import glob
import hashlib
import os
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Final

from inkgate.config.printable import Log
from inkgate.rules.match.errors import MatchError
from inkgate.rules.match.input.chunks import BLOCK, Chunk, Chunker
from inkgate.rules.match.input.files import IDLE_SECONDS, Chunks, opener_of, unreadable, utf_16
from inkgate.rules.match.input.positions import Position, Positions
from inkgate.rules.match.logs.log_format import FormatError

# So many bytes before the place of reading are known, by which a file is known again.
_REMEMBERED: Final = 4096
# With fewer of them another file may look the same.
_ENOUGH: Final = 64


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
        self._before = b""
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
        before = self._before[: max(0, len(self._before) - self._unfinished)]
        return Position(found.st_dev, found.st_ino, offset, len(before), _digest(before))

    def read(self) -> bytes:
        """What has been added, up to a block; nothing if nothing was.

        Raises:
            MatchError: it is compressed or in UTF-16, or may not be read.
        """
        block = self._read()
        newline = block.rfind(b"\n")
        self._unfinished = (
            self._unfinished + len(block) if newline < 0 else len(block) - newline - 1
        )
        return block

    def _read(self) -> bytes:
        """What has been added.

        A file that was renamed is read to its end before its successor is begun. One that was
        cut off is read from its beginning, after what its copy has of the old lines.

        Raises:
            MatchError: it is compressed or in UTF-16, or may not be read.
        """
        if self._file is None and not self._open():
            return b""
        assert self._file is not None  # noqa: S101 (`_open` has set it)
        if block := self._more():
            return block
        if self._is_replaced():
            # More lines may have been written between the last read and the renaming.
            if block := self._more():
                return block
            ended = self._end()
            self.close()
            # The last line of the old file ends here, even without a newline.
            return ended + (self._more() if self._open() else b"")
        return b""

    def _more(self) -> bytes:
        """What was added to the open file."""
        assert self._file is not None  # noqa: S101 (`_read` has opened it)
        offset = self._file.tell()
        block, ended = self._file.read(BLOCK), b""
        # Asked after the reading: what was read was added to what is known, or it is not used.
        if offset and self._is_cut(offset):
            ended = b"" if self._goes_on_in_copy(offset) else self._begin_anew()
            block = self._file.read(BLOCK)
        self._before = (self._before + block)[-_REMEMBERED:]
        return ended + block

    def _is_cut(self, offset: int) -> bool:
        """Whether what was read before stands there no more; it may have grown as long again."""
        assert self._file is not None  # noqa: S101 (`_more` has checked it)
        file, before = self._file.fileno(), self._before
        if os.fstat(file).st_size < offset:
            return True
        return os.pread(file, len(before), offset - len(before)) != before

    def _goes_on_in_copy(self, offset: int) -> bool:
        """Whether a copy from before the cut has more lines; it is read to its end first."""
        before = self._before
        if len(before) < _ENOUGH:
            return False
        old = Position(0, 0, offset, len(before), _digest(before))
        for copy in self._others():
            if _is_at(copy, old, only_same=False, has_more=True):
                return self._go_to(copy, old)
        return False

    def _begin_anew(self) -> bytes:
        """Go to the file's beginning; what ends a line that was not whole."""
        assert self._file is not None  # noqa: S101 (`_more` has checked it)
        self._file.seek(0)
        self._before = b""
        return self._end()

    def _go_to(self, path: Path, position: Position) -> bool:
        """Go on in another file; False if it is gone."""
        old = self._file
        if not self._open(path):
            return False
        assert self._file is not None  # noqa: S101 (`_open` has set it)
        if old is not None:
            old.close()
        # More than the position tells: one of before 0.2 tells nothing.
        length = min(position.offset, _REMEMBERED)
        self._before = os.pread(self._file.fileno(), length, position.offset - length)
        self._file.seek(position.offset)
        return True

    def _end(self) -> bytes:
        """What ends a line that was not whole."""
        return b"\n" if self._unfinished else b""

    def close(self) -> None:
        """Close it; the next `read` opens whatever has its name then."""
        if self._file is not None:
            self._file.close()
            self._file = None
            self._before = b""

    def _resume(self, position: Position) -> None:
        """Go on where a file was left, whose name a rotation may have changed since."""
        for path in (Path(self.path), *self._others()):
            if _is_at(path, position, only_same=position.length < _ENOUGH):
                self._go_to(path, position)
                return
        self._log(
            f"{self.path}: the file that was read before is gone: what was added to it since is "
            "not matched, and the present one is read from its beginning"
        )

    def _others(self) -> list[Path]:
        """Files whose names say that they were this one, or are copies of it."""
        place = Path(self.path)
        return sorted(place.parent.glob(f"{glob.escape(place.name)}[.-]*"))

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
        if utf_16(beginning):
            file.close()
            raise MatchError(f"{self.path}: is in UTF-16; match it without --follow")
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


def _digest(before: bytes) -> str:
    return hashlib.blake2b(before, digest_size=16).hexdigest()


def _is_at(path: Path, position: Position, *, only_same: bool, has_more: bool = False) -> bool:
    """Whether a file has what was read up to a position.

    Args:
        only_same: it must be the same file, and no copy.
        has_more: it must have something behind that.
    """
    try:
        # Without waiting: a pipe of that name would hold us up until somebody writes into it.
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        found = os.fstat(file)
        if not stat.S_ISREG(found.st_mode) or found.st_size < position.offset + has_more:
            return False
        is_same = (found.st_dev, found.st_ino) == (position.device, position.inode)
        if only_same and not is_same:
            return False
        if not position.digest:
            # Written before positions had one.
            return is_same
        before = os.pread(file, position.length, position.offset - position.length)
        return _digest(before) == position.digest
    except OSError:
        return False
    finally:
        os.close(file)


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
        MatchError: a file may not be read, is compressed or in UTF-16, or has no known format.
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
