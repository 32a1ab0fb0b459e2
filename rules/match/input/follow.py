"""Files that grow: what `tail -F` does, over rename, truncation and files not there yet."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from inkgate.rules.match.errors import MatchError
from inkgate.rules.match.input.chunks import BLOCK, Chunker
from inkgate.rules.match.input.files import IDLE_SECONDS, Chunks, opener_of, unreadable
from inkgate.rules.match.logs.log_format import FormatError


class Followed:
    """One file, by its name.

    Args:
        path: the name; the file may come later, and be replaced at any time.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._file: BinaryIO | None = None

    def read(self) -> bytes:
        """What has been added, up to a block; nothing if nothing was.

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

    def _open(self) -> bool:
        try:
            file = Path(self.path).open("rb", buffering=0)  # noqa: SIM115 (kept open)
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


def followed_chunks(paths: tuple[str, ...], format: str, stop: Callable[[], bool]) -> Chunks:  # noqa: A002
    """Lines of files as they come, from the files' beginnings, until `stop` returns True.

    Raises:
        MatchError: a file may not be read, is compressed, or has no known format.
    """
    files = [(Followed(path), Chunker(path, format)) for path in paths]
    try:
        while not stop():
            came = False
            for file, chunker in files:
                if block := file.read():
                    came = True
                    yield from chunker.feed(block)
            yield None
            if not came:
                time.sleep(IDLE_SECONDS)
        for _, chunker in files:
            yield from chunker.finish()
    except FormatError as error:
        raise unreadable(" ".join(paths), error) from None
    finally:
        for file, _ in files:
            file.close()
