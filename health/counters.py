"""The writing side: one process's counters, in a file of its own."""

from __future__ import annotations

import mmap
import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from inkgate.config.locks import open_lock_file, try_lock, unlock
from inkgate.config.owner import as_owner
from inkgate.health.layout import (
    FILE_BYTES,
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
        self._fd = -1
        if folder is not None:
            # Squid's user, who owns the folder, may put a link in its place.
            with as_owner(folder):
                self._fd = _make(folder, program)
        self._map = mmap.mmap(self._fd, FILE_BYTES)
        header = encode_header(Header(program, os.getpid(), time.time(), boot_id(), tuple(names)))
        self._map[: len(header)] = header
        self._numbers = memoryview(self._map)[NUMBERS_AT:STATE_AT].cast("Q")

    def add(self, name: str, count: int = 1) -> None:
        """Add to a counter; from any thread.

        Raises:
            KeyError: there is no such counter.
        """
        with self._lock:
            self._numbers[self._index[name]] += count

    def set(self, name: str, value: int) -> None:
        """Set a number that is no sum, for instance a time.

        Raises:
            KeyError: there is no such number.
        """
        self._numbers[self._index[name]] = value

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
                self._numbers[index] = min(merged(name, self._numbers[index], number), _GREATEST)

    def say(self, state: dict[str, str | float]) -> None:
        """Replace what this process says of itself.

        Raises:
            ValueError: it is too long.
        """
        data = encode_state(state)
        with self._lock:
            self._map[STATE_AT : STATE_AT + len(data)] = data

    def let_go(self) -> None:
        """Leave the file to whoever adds the dead up. What is counted from now on may be lost."""
        if self._fd >= 0:
            # Closing alone would not do: the mapping has a descriptor of its own.
            unlock(self._fd)
            os.close(self._fd)
            self._fd = -1


def _make(folder: Path, program: str) -> int:
    """A new file, locked for as long as this process lives."""
    # Random, since process numbers come again; the program is in the header.
    path = folder / f"{program}-{os.getpid()}-{os.urandom(4).hex()}{SUFFIX}"
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
