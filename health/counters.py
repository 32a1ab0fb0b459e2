"""The writing side: one process's counters, in a file of its own."""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from inkgate.health.layout import (
    FILE_BYTES,
    NUMBERS_AT,
    STATE_AT,
    SUFFIX,
    Header,
    encode_header,
    encode_state,
)

_MODE: Final = 0o640


class Counters:
    """Numbers that only grow, and a few words on what this process is doing.

    Args:
        folder: where the file is made; None keeps the numbers in this process alone.
        program: the command that counts.
        names: the counters; see `add`.

    Raises:
        OSError: the file cannot be made.
    """

    def __init__(self, folder: Path | None, program: str, names: Sequence[str]) -> None:
        self._index = {name: number for number, name in enumerate(names)}
        self._lock = threading.Lock()
        self._fd = _make(folder, program) if folder else -1
        self._map = mmap.mmap(self._fd, FILE_BYTES)
        header = encode_header(Header(program, os.getpid(), time.time(), tuple(names)))
        self._map[: len(header)] = header
        self.numbers = memoryview(self._map)[NUMBERS_AT:STATE_AT].cast("Q")

    def number(self, name: str) -> int:
        """The place of a counter in `numbers`, for one thread that counts often.

        Raises:
            KeyError: there is no such counter.
        """
        return self._index[name]

    def add(self, name: str, count: int = 1) -> None:
        """Add to a counter; from any thread.

        Raises:
            KeyError: there is no such counter.
        """
        with self._lock:
            self.numbers[self._index[name]] += count

    def set(self, name: str, value: int) -> None:
        """Set a number that is no sum, for instance a time.

        Raises:
            KeyError: there is no such number.
        """
        self.numbers[self._index[name]] = value

    def say(self, **state: str | float) -> None:
        """Replace what this process says of itself.

        Raises:
            ValueError: it is too long.
        """
        data = encode_state(state)
        with self._lock:
            self._map[STATE_AT : STATE_AT + len(data)] = data

    def close(self) -> None:
        """Let go of the file, which stays for whoever adds the dead up."""
        self.numbers.release()
        with contextlib.suppress(BufferError):
            self._map.close()
        if self._fd >= 0:
            os.close(self._fd)


def _make(folder: Path, program: str) -> int:
    """A new file, locked for as long as this process lives."""
    # Random, since process numbers come again; the program is in the header.
    path = folder / f"{program}-{os.getpid()}-{os.urandom(4).hex()}{SUFFIX}"
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(path, flags, _MODE)
    try:
        os.fchmod(fd, _MODE)
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.truncate(fd, FILE_BYTES)
    except BaseException:
        os.close(fd)
        path.unlink(missing_ok=True)
        raise
    return fd
