"""Locks between processes. The system lets go of them when a process ends, however it ends.

A lock of a whole file (flock(2)) belongs to one opening of it; a lock of a byte of a file
(fcntl(2)) belongs to the process.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from inkgate.config.modes import set_file_mode

_RETRY_SECONDS: Final = 0.05
_SIGNED: Final = re.compile(rb"([0-9]{1,10}) ([0-9]{1,12})\n")
_MOST_SIGNED: Final = 64


def try_lock(fd: int) -> bool:
    """Lock a file that is open; False if somebody else has locked it."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def try_share(fd: int) -> bool:
    """Lock a file that is open as others may, too; False if somebody has it for himself."""
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def unlock(fd: int) -> None:
    """Give the lock of an open file back, although it stays open."""
    fcntl.flock(fd, fcntl.LOCK_UN)


def is_locked(path: Path) -> bool:
    """Whether somebody has a file locked for himself; a link is not followed."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return not try_share(fd)
    finally:
        os.close(fd)


def lock_until(fd: int, until: float, pause: Callable[[float], bool]) -> bool:
    """Wait for the lock of a file that is open; False if it was in vain.

    Args:
        until: how long to wait (time.monotonic).
        pause: waits so many seconds; True if there is nothing more to wait for.
    """
    while not try_lock(fd):
        if time.monotonic() >= until or pause(_RETRY_SECONDS):
            return False
    return True


def open_lock_file(path: Path, mode: int, *, owner_of: Path | None = None) -> int:
    """Open a file that is there to be locked, and make it with a mode if it is not there.

    Returns:
        Its descriptor. Closing it gives the lock back.

    Raises:
        OSError: it can neither be opened nor made.
    """
    # Where somebody else owns the folder, a link may lead to a device that acts when opened.
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        fd = os.open(path, flags | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError:
        return os.open(path, flags)
    set_file_mode(fd, mode, owner_of=owner_of)
    return fd


@contextlib.contextmanager
def lock_file(path: Path, mode: int, *, owner_of: Path | None = None) -> Iterator[bool]:
    """Whether nobody else has locked a file; nobody will, in the `with`. Does not wait.

    Raises:
        OSError: it can neither be opened nor made.
    """
    fd = open_lock_file(path, mode, owner_of=owner_of)
    try:
        yield try_lock(fd)
    finally:
        os.close(fd)


class Holder(NamedTuple):
    """Who has a lock; `since` in seconds since 1970."""

    pid: int
    since: float


@contextlib.contextmanager
def signed_lock(path: Path) -> Iterator[None]:
    """Let a file that this process has locked say in the `with` who that is.

    For files in folders that nobody else may write to. Without room on the disk it stays unsaid.
    """
    _write_lock(path, f"{os.getpid()} {time.time():.0f}\n".encode())
    try:
        yield
    finally:
        _write_lock(path, b"")


def _write_lock(path: Path, text: bytes) -> None:
    with contextlib.suppress(OSError):
        fd = os.open(path, os.O_WRONLY | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.write(fd, text)
        finally:
            os.close(fd)


def holder_of(path: Path) -> Holder | None:
    """Who has signed a lock, if that process is there; what else stands in the file is nothing."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        found = _SIGNED.fullmatch(os.read(fd, _MOST_SIGNED))
    except OSError:
        return None
    finally:
        os.close(fd)
    is_there = found is not None and Path(f"/proc/{int(found[1])}").exists()
    return Holder(int(found[1]), float(found[2])) if found and is_there else None


@contextlib.contextmanager
def lock_folder(folder: Path, seconds: float) -> Iterator[None]:
    """Wait for the lock of a folder, and hold it in the `with`.

    Args:
        seconds: how long to wait; whoever may read the folder may hold its lock for ever.

    Raises:
        OSError: it is not there, or somebody else held its lock all the time.
    """
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if not lock_until(fd, time.monotonic() + seconds, _sleep):
            raise TimeoutError(errno.ETIMEDOUT, "another process holds its lock", str(folder))
        yield
    finally:
        os.close(fd)


@contextlib.contextmanager
def lock_byte(fd: int, offset: int) -> Iterator[None]:
    """Wait for the lock of one byte of an open file, and hold it in the `with`.

    Args:
        fd: open for writing.
        offset: of the byte, below 2**63; the file need not be that long.
    """
    fcntl.lockf(fd, fcntl.LOCK_EX, 1, offset)
    try:
        yield
    finally:
        fcntl.lockf(fd, fcntl.LOCK_UN, 1, offset)


def _sleep(seconds: float) -> bool:
    time.sleep(seconds)
    return False
