"""The reading side: the numbers of all processes, living and dead, from files of another user.

Nothing in the folder is believed: links are not followed, pipes and devices not opened for
long, and no more than so many files of a fixed size are read.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from inkgate.config.locks import try_lock, try_share
from inkgate.config.owner import as_owner
from inkgate.health.layout import (
    FILE_BYTES,
    SEEN,
    SUFFIX,
    Header,
    boot_id,
    decode_header,
    decode_numbers,
    decode_state,
    merged,
)

MAX_FILES: Final = 1024
_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class ProcessCounters(NamedTuple):
    """One process's numbers.

    Attributes:
        header: whose they are.
        numbers: by name.
        state: what the process last said of itself.
        is_alive: whether it still holds its file's lock.
        written: when its file was last written, in seconds since 1970.
    """

    header: Header
    numbers: dict[str, int]
    state: dict[str, str | float]
    is_alive: bool
    written: float

    def said(self, name: str) -> float:
        """A number of the state; 0 if there is none of that name."""
        value = self.state.get(name)
        return 0.0 if value is None or isinstance(value, str) else value

    @property
    def last_seen(self) -> float:
        """When it was last known to live, in seconds since 1970."""
        return max(self.written, float(self.numbers.get(SEEN, 0)))

    @property
    def has_died(self) -> bool:
        """Whether it ended as it should not: killed, or by a fault. A restart is none."""
        return not (self.is_alive or self.numbers.get("ended", 0) or self.header.boot != boot_id())


def read_all(folder: Path) -> list[ProcessCounters]:
    """All that a folder holds; damaged and foreign files are passed over.

    Raises:
        OSError: the folder cannot be listed.
    """
    with _opened_folder(folder) as directory:
        read = (_read(directory, name) for name in _names(directory))
        return [process for process in read if process is not None]


def fold_dead(
    folder: Path, programs: Sequence[str], inherit: Callable[[ProcessCounters], None]
) -> None:
    """Hand on the numbers of programs' dead processes and remove their files.

    Called by the same program's next process, so that files do not grow in number and no
    count is lost.

    Args:
        folder: of the counters.
        programs: whose dead.
        inherit: takes one process's numbers, before its file goes: a kill in between
            counts them twice, which is better than not at all.

    Raises:
        OSError: the folder cannot be listed.
    """
    with _opened_folder(folder) as directory:
        for name in _names(directory):
            _fold(directory, name, programs, inherit)


def merge(into: dict[str, int], numbers: dict[str, int]) -> None:
    """Add numbers to sums; of times (`….last`) the latest counts."""
    for name, number in numbers.items():
        into[name] = merged(name, into.get(name, 0), number)


def _fold(
    directory: int, name: str, programs: Sequence[str], inherit: Callable[[ProcessCounters], None]
) -> None:
    with _opened(directory, name) as fd:
        # Whoever holds the lock may remove. A file without a name was counted and removed
        # between its opening here and its lock: two that start at once do not count twice.
        if fd is None or not try_lock(fd) or not os.fstat(fd).st_nlink:
            return
        process = _decoded(fd)
        if process is not None:
            if process.header.program not in programs:
                return
            inherit(process)
        with contextlib.suppress(OSError):
            os.unlink(name, dir_fd=directory)


def _read(directory: int, name: str) -> ProcessCounters | None:
    with _opened(directory, name) as fd:
        if fd is None:
            return None
        is_alive = not try_share(fd)
        process = _decoded(fd)
        return None if process is None else process._replace(is_alive=is_alive)


def _decoded(fd: int) -> ProcessCounters | None:
    data = os.pread(fd, FILE_BYTES, 0)
    header = decode_header(data)
    if header is None:
        return None
    return ProcessCounters(
        header, decode_numbers(data, header), decode_state(data), False, os.fstat(fd).st_mtime
    )


def _names(directory: int) -> list[str]:
    names = sorted(name for name in os.listdir(directory) if name.endswith(SUFFIX))
    return names[:MAX_FILES]


@contextlib.contextmanager
def _opened_folder(folder: Path) -> Iterator[int]:
    # Its owner may put a link in its place, and what is in it is removed here.
    with as_owner(folder):
        directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            yield directory
        finally:
            os.close(directory)


@contextlib.contextmanager
def _opened(directory: int, name: str) -> Iterator[int | None]:
    """A regular file of the right size, never through a link; None if it is no such file."""
    try:
        fd = os.open(name, _FLAGS, dir_fd=directory)
    except OSError:
        yield None
        return
    try:
        found = os.fstat(fd)
        yield fd if stat.S_ISREG(found.st_mode) and found.st_size == FILE_BYTES else None
    finally:
        os.close(fd)
