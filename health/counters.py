"""The writing side: one process's counters, in a file of its own."""

from __future__ import annotations

import mmap
import os
import threading
import time
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from inkgate.config.locks import open_lock_file, try_lock, unlock
from inkgate.config.owner import as_owner
from inkgate.health.layout import (
    FILE_BYTES,
    MAGIC,
    NUMBERS_AT,
    STATE_AT,
    SUFFIX,
    Header,
    boot_id,
    encode_header,
    encode_state,
    merged,
)

_MODE: Final = 0o640
_GREATEST: Final = 2**64 - 1


class Counters:
    """Numbers that only grow, and a few words on what this process is doing.

    The numbers are this process's own; its file has a copy, for those who read it. Whoever
    may write in the folder may also remove the file or cut it off, and a mapped page that
    is cut off ends the process that writes to it (SIGBUS). So the file's size is asked for
    before each access, which costs half a microsecond, and nothing is lost with the file.

    Args:
        folder: where the file is made; None keeps the numbers in this process alone.
        program: the command that counts.
        names: the counters; see `add`.

    Raises:
        OSError: the file cannot be made.
        OwnerError: this is root, and the folder's owner cannot be told.
    """

    def __init__(self, folder: Path | None, program: str, names: Sequence[str]) -> None:
        self._index = {name: number for number, name in enumerate(names)}
        self._lock = threading.Lock()
        self._program = program
        self._header = encode_header(
            Header(program, os.getpid(), time.time(), boot_id(), tuple(names))
        )
        self._numbers = array("Q", bytes(8 * len(names)))
        self._state = b""
        self._file = _File(folder, program)
        self._copy_all()

    def add(self, name: str, count: int = 1) -> None:
        """Add to a counter; from any thread.

        Raises:
            KeyError: there is no such counter.
        """
        index = self._index[name]
        with self._lock:
            self._numbers[index] += count
            self._file.set(index, self._numbers[index])

    def set(self, name: str, value: int) -> None:
        """Set a number that is no sum, for instance a time.

        Raises:
            KeyError: there is no such number.
        """
        index = self._index[name]
        with self._lock:
            self._numbers[index] = value
            self._file.set(index, value)

    def value(self, name: str) -> int:
        """A number as it stands.

        Raises:
            KeyError: there is no such number.
        """
        return self._numbers[self._index[name]]

    def inherit(self, name: str, number: int) -> None:
        """Take a dead process's number over, if there is a counter of that name."""
        index = self._index.get(name)
        if index is not None:
            with self._lock:
                sum_of_both = min(merged(name, self._numbers[index], number), _GREATEST)
                self._numbers[index] = sum_of_both
                self._file.set(index, sum_of_both)

    def say(self, state: dict[str, str | float]) -> None:
        """Replace what this process says of itself.

        Raises:
            ValueError: it is too long.
        """
        data = encode_state(state)
        with self._lock:
            self._state = data
            self._file.write(STATE_AT, data)

    def is_in(self, folder: Path) -> bool:
        """Whether the file lies in the folder, whole: others may have removed it."""
        return self._file.is_in(folder)

    def move_to(self, folder: Path) -> None:
        """Make a new file there and count on in it; nothing of the numbers is lost.

        Raises:
            OSError: the file cannot be made; then all is as before.
            OwnerError: this is root, and the folder's owner cannot be told.
        """
        new = _File(folder, self._program)
        with self._lock:
            old, self._file = self._file, new
            self._copy_all()
        # What is somewhere else now must not be taken for that of a process that died.
        old.write(0, bytes(len(MAGIC)))
        old.let_go()

    def let_go(self) -> None:
        """Leave the file to whoever adds the dead up. What is counted from now on may be lost."""
        self._file.let_go()

    def _copy_all(self) -> None:
        self._file.write(NUMBERS_AT, self._numbers.tobytes())
        self._file.write(STATE_AT, self._state)
        # Last: a file without it is nobody's.
        self._file.write(0, self._header)


class _File:
    """The copy of the numbers that others read. With no folder, for nobody."""

    def __init__(self, folder: Path | None, program: str) -> None:
        # Random, since process numbers come again; the program is in the header.
        self._name = f"{program}-{os.getpid()}-{os.urandom(4).hex()}{SUFFIX}"
        self._fd = -1
        self._map: mmap.mmap | None = None
        if folder is not None:
            # Squid's user, who owns the folder, may put a link in its place.
            with as_owner(folder):
                self._fd = _make(folder / self._name)
            self._map = mmap.mmap(self._fd, FILE_BYTES)
            self._numbers = memoryview(self._map)[NUMBERS_AT:STATE_AT].cast("Q")

    def set(self, index: int, number: int) -> None:
        if self._map is not None and self._map.size() == FILE_BYTES:
            self._numbers[index] = number

    def write(self, offset: int, data: bytes) -> None:
        if self._map is not None and self._map.size() == FILE_BYTES:
            self._map[offset : offset + len(data)] = data

    def is_in(self, folder: Path) -> bool:
        try:
            there, ours = os.lstat(folder / self._name), os.fstat(self._fd)
        except OSError:
            return False
        return os.path.samestat(there, ours) and ours.st_size == FILE_BYTES

    def let_go(self) -> None:
        if self._fd >= 0:
            # Closing alone would not do: the mapping has a descriptor of its own.
            unlock(self._fd)
            os.close(self._fd)
            self._fd = -1


def _make(path: Path) -> int:
    """A new file, locked for as long as this process lives."""
    fd = open_lock_file(path, _MODE)
    try:
        try_lock(fd)
        # With its blocks: on a full disk, writing to a hole of a mapped file would end the
        # process (SIGBUS), and with it the helper.
        os.posix_fallocate(fd, 0, FILE_BYTES)
    except BaseException:
        os.close(fd)
        path.unlink(missing_ok=True)
        raise
    return fd
