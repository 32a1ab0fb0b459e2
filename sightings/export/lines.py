"""A file that lines are appended to, and that logrotate may move away at any moment."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path
from typing import Final

from inkgate.config.modes import set_file_mode, sync_folder
from inkgate.config.owner import OwnerError, refuse_other_owner
from inkgate.config.regular_files import NOT_REGULAR
from inkgate.sightings.export.errors import ExportAway, ExportRefused

MODE: Final = 0o640
_FLAGS: Final = os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_LONGEST_TAIL: Final = 1 << 20


class LineFile:
    """The end of a file. Nobody else appends to it meanwhile.

    Args:
        path: where it lies; it is made with mode 0640.
        begins: how each of our lines begins.
    """

    def __init__(self, path: Path, begins: bytes) -> None:
        self._path = path
        self._begins = begins
        self._fd = -1

    def append(self, lines: bytes) -> None:
        """Add whole lines, each with its end; they are on the disk when this returns.

        Raises:
            ExportAway: none of them is in the file (its disk is full, for instance).
            ExportRefused: something else lies there.
        """
        try:
            self._open_if_moved()
            before = os.fstat(self._fd).st_size
            try:
                rest = memoryview(lines)
                while rest:
                    rest = rest[os.write(self._fd, rest) :]
                os.fdatasync(self._fd)
            except OSError:
                # Nobody is to read half of a line while the disk is full.
                with contextlib.suppress(OSError):
                    os.ftruncate(self._fd, before)
                raise
        except OwnerError as error:
            raise ExportRefused(str(error)) from None
        except OSError as error:
            problem = f"{self._path}: {error.strerror or 'cannot be written'}"
            self.close()
            raise ExportAway(problem) from None

    def close(self) -> None:
        """Close the file; the next `append` opens it again."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _open_if_moved(self) -> None:
        if self._fd >= 0:
            with contextlib.suppress(FileNotFoundError):
                # logrotate has renamed it and perhaps made another one.
                if os.path.samestat(self._path.lstat(), os.fstat(self._fd)):
                    return
            self.close()
        refuse_other_owner(self._path.parent)
        self._fd = self._opened()
        self._mend()

    def _opened(self) -> int:
        try:
            fd = os.open(self._path, _FLAGS | os.O_CREAT | os.O_EXCL, MODE)
        except FileExistsError:
            # Looked at first: opening alone may do something to a device.
            self._check(self._path.lstat())
            fd = os.open(self._path, _FLAGS)
            self._check(os.fstat(fd))
            return fd
        set_file_mode(fd, MODE)
        sync_folder(self._path.parent)
        return fd

    def _check(self, found: os.stat_result) -> None:
        if not stat.S_ISREG(found.st_mode):
            raise ExportRefused(f"{self._path}: {NOT_REGULAR}; see who put it there")

    def _mend(self) -> None:
        """Take away what a killed writer left of a line."""
        size = os.fstat(self._fd).st_size
        start = max(0, size - _LONGEST_TAIL)
        tail = os.pread(self._fd, _LONGEST_TAIL, start)
        if not tail or tail.endswith(b"\n"):
            return
        whole = tail.rfind(b"\n") + 1
        left = tail[whole:]
        if (whole or not start) and _is_part(left, self._begins):
            os.ftruncate(self._fd, start + whole)
        else:
            # It is none of ours: it stays, and our next line is not made part of it.
            os.write(self._fd, b"\n")


def _is_part(left: bytes, begins: bytes) -> bool:
    return left.startswith(begins) or begins.startswith(left)
