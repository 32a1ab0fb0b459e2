"""The file in which all helpers and ICAP workers of a machine keep verdicts for each other.

A table of fixed size, mapped into memory: a look is a memory access, a write needs no lock,
and nobody's writes can make it grow. A place holds a tag, a time and sealed bytes. What is
sealed is for `remembered` alone to know; whatever else lies there (half a write, a damaged
file) does not open, and so is nothing.

    0     8 bytes  magic
    8     8 bytes  when the last entry is over, in seconds since 1970 (little endian, as all)
    16    8 bytes  when something was last put, in nanoseconds: another one each time
    4096  rows     of `_WAYS` places each; a tag has its place in one row
"""

from __future__ import annotations

import mmap
import os
import stat
import struct
import time
from pathlib import Path
from typing import Final, NamedTuple

from inkgate.config.locks import open_lock_file
from inkgate.config.modes import make_folder
from inkgate.config.owner import OwnerError, as_owner
from inkgate.health.monitor import Monitor

FILE: Final = "verdicts"
LATEST, PUT = 0, 1
TAG_BYTES: Final = 16
SEALED_BYTES: Final = 128
_MAGIC: Final = b"INKVERD1"
_MODE: Final = 0o600
_ROWS_AT: Final = 4096
_ROWS: Final = 2048
_WAYS: Final = 8
_PLACE: Final = struct.Struct(f"<{TAG_BYTES}sQ{SEALED_BYTES}s")
_ROW_BYTES: Final = _WAYS * _PLACE.size
FILE_BYTES: Final = _ROWS_AT + _ROWS * _ROW_BYTES
# A disk that was full may have room again, and a folder another owner.
_AGAIN_SECONDS: Final = 30.0


class Entry(NamedTuple):
    """What lies under a tag.

    Attributes:
        expires: seconds since 1970.
        sealed: `SEALED_BYTES` bytes.
    """

    expires: int
    sealed: bytes


class VerdictStore:
    """The table. For many threads; a file that cannot be used leaves one for this process.

    Args:
        folder: where the file lies; it belongs to Squid's user, and only he may enter it.
        monitor: told when the file cannot be used or is gone, and when the table is full.

    Attributes:
        folder: see above.
        numbers: the first is when the last entry is over; while it equals `over`, nothing is
            remembered. The second is another one as soon as something was put. The warm path
            reads them here, since a call costs more than all of it.
        over: the first number, once its time has passed.
    """

    def __init__(self, folder: Path, monitor: Monitor) -> None:
        self.folder = folder
        self._path = folder / FILE
        self._longest = 0.0
        self._monitor = monitor
        self._file: tuple[int, int] | None = None
        self._tried = time.monotonic()
        self.over = 0
        self._map = mmap.mmap(-1, FILE_BYTES)
        self.numbers = _numbers(self._map)
        self._open()

    @property
    def is_empty(self) -> bool:
        """Whether nothing in it counts."""
        return self.numbers[LATEST] == self.over

    def look(self, longest: float) -> None:
        """See whether the file is still there, and whether all of it is over. Twice a second.

        Args:
            longest: seconds that an entry may count at most.
        """
        self._longest = longest
        if self._file is None:
            if time.monotonic() - self._tried > _AGAIN_SECONDS:
                self._open()
        elif _file_at(self._path) != self._file:
            self._monitor.met("verdicts-moved", f"{self._path} was moved, cut or deleted")
            self._open()
        latest = self.numbers[LATEST]
        # Taken back, too: a clock that was wrong for a while hides nothing afterwards.
        self.over = 0 if self._counts(latest, time.time()) else latest

    def damaged(self, error: Exception) -> None:
        """Say that a rule that is remembered cannot be opened."""
        self._monitor.met("rule-damaged", str(error))

    def holds(self, tag: bytes) -> bool:
        """Whether there may be something under a tag."""
        at = _row(tag)
        return self._map.find(tag, at, at + _ROW_BYTES) >= 0

    def get(self, tag: bytes) -> Entry | None:
        """What lies under a tag, if it is not over."""
        now = time.time()
        for _, found, expires, sealed in self._places(tag):
            if found == tag and self._counts(expires, now):
                return Entry(expires, sealed)
        return None

    def put(self, tag: bytes, entry: Entry) -> None:
        """Keep something under a tag; in a full row the entry that is over first gives way."""
        now = time.time()
        places = [
            (found != tag, expires if self._counts(expires, now) else 0, at)
            for at, found, expires, _ in self._places(tag)
        ]
        is_other, expires, at = min(places)
        if is_other and expires:
            self._monitor.met("verdicts-pushed-out")
        _PLACE.pack_into(self._map, at, tag, *entry)
        latest = self.numbers[LATEST]
        # A number from a clock that was wrong does not stay.
        if latest < entry.expires or not self._counts(latest, now):
            self.numbers[LATEST] = entry.expires
        # After all of it: who sees another number finds the rest.
        self.numbers[PUT] = time.time_ns()

    def _counts(self, expires: int, now: float) -> bool:
        # Also after the clock was set back.
        return now < expires <= now + self._longest + 1

    def _places(self, tag: bytes) -> list[tuple[int, bytes, int, bytes]]:
        at = _row(tag)
        row = self._map[at : at + _ROW_BYTES]
        return [
            (at + number * _PLACE.size, *place)
            for number, place in enumerate(_PLACE.iter_unpack(row))
        ]

    def _open(self) -> None:
        self._tried = time.monotonic()
        try:
            # Squid's user, whose the folder is, may put a link in its place.
            with as_owner(self._path.parent):
                make_folder(self._path.parent, 0o700)
                self._use(_opened(self._path))
        except (OwnerError, OSError) as error:
            if self._file is not None:
                # It may have been cut off: reading it on would end the process (SIGBUS).
                self._file = None
                self._map = mmap.mmap(-1, FILE_BYTES)
                self.numbers = _numbers(self._map)
            why = error.strerror if isinstance(error, OSError) else error
            self._monitor.met("verdicts-not-shared", f"{self._path}: {why}")
            return
        self._monitor.over("verdicts-not-shared", f"{self._path} can be used")

    def _use(self, fd: int) -> None:
        try:
            mapped = mmap.mmap(fd, FILE_BYTES)
            found = os.fstat(fd)
        finally:
            os.close(fd)
        if mapped[: len(_MAGIC)] != _MAGIC:
            # New, or of another version, whose entries would not open.
            mapped[: len(_MAGIC)] = _MAGIC
        self._file = found.st_dev, found.st_ino
        # The old one is unmapped when no other thread looks into it any more.
        self._map, self.numbers = mapped, _numbers(mapped)


def _opened(path: Path) -> int:
    if _is_in_the_way(path):
        path.unlink()
    fd = open_lock_file(path, _MODE)
    try:
        # With its blocks: on a full disk, writing to a hole of a mapped file would end the
        # process (SIGBUS), and with it the helper.
        os.posix_fallocate(fd, 0, FILE_BYTES)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _is_in_the_way(path: Path) -> bool:
    """Whether something lies there that cannot become our file. A short one can."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return False
    return not stat.S_ISREG(found.st_mode) or found.st_size > FILE_BYTES


def _file_at(path: Path) -> tuple[int, int] | None:
    """What lies there, if it is a whole file: what tells it from another one."""
    try:
        found = path.lstat()
    except OSError:
        return None
    is_whole = stat.S_ISREG(found.st_mode) and found.st_size == FILE_BYTES
    return (found.st_dev, found.st_ino) if is_whole else None


def _row(tag: bytes) -> int:
    return _ROWS_AT + int.from_bytes(tag[:4]) % _ROWS * _ROW_BYTES


def _numbers(mapped: mmap.mmap) -> memoryview:
    return memoryview(mapped)[len(_MAGIC) : 3 * len(_MAGIC)].cast("Q")
