"""Room beside a journal, kept for the moment at which its disk is full.

To delete is to write: SQLite needs room for its log before it can make any. So a file of
some MiB, of nothing, lies beside the journal. Whoever must delete on a full disk removes it,
deletes, and makes it again.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from inkgate.config.locks import open_lock_file
from inkgate.sightings.errors import JournalError

T = TypeVar("T")

RESERVE_BYTES: Final = 8 << 20
# After a deletion on a full disk: the rest is for the log of those that write to the journal.
_SMALLER_BYTES: Final = (4 << 20, 2 << 20, 1 << 20)
_SUFFIX: Final = ".reserve"
_MODE: Final = 0o640
# On a disk that is as small as this, the reserve would be what fills it.
_LEAST_FREE_BYTES: Final = 4 * RESERVE_BYTES
# With less than this SQLite cannot open a journal and write to it.
_FULL_BYTES: Final = 1 << 20


def keep(journal: Path) -> None:
    """Make the reserve of a journal whole, if it is not and the disk has room for it."""
    if not _is_whole(journal) and _free_bytes(journal) >= _LEAST_FREE_BYTES:
        _make(journal, RESERVE_BYTES)


def deleting(journal: Path, delete: Callable[[], T]) -> T:
    """Delete from a journal; on a full disk in the room of the reserve.

    Args:
        journal: the file.
        delete: what deletes; it is called again if it failed of a full disk.

    Raises:
        JournalError: of `delete`.
    """
    try:
        return delete()
    except JournalError:
        if _free_bytes(journal) >= _FULL_BYTES or not _give_up(journal):
            raise
    try:
        return delete()
    finally:
        # However little is free: it was ours before.
        any(_make(journal, size) for size in _SMALLER_BYTES)


def reserve_of(journal: Path) -> Path:
    """Where the reserve of a journal lies."""
    return journal.with_name(journal.name + _SUFFIX)


def _give_up(journal: Path) -> bool:
    try:
        reserve_of(journal).unlink()
    except OSError:
        return False
    return True


def _is_whole(journal: Path) -> bool:
    try:
        return reserve_of(journal).lstat().st_size >= RESERVE_BYTES
    except OSError:
        return False


def _make(journal: Path, size: int) -> bool:
    """Make the reserve, or make it larger; whether it could be."""
    path = reserve_of(journal)
    try:
        fd = open_lock_file(path, _MODE, owner_of=path.parent)
    except OSError:
        return False
    try:
        os.posix_fallocate(fd, 0, size)
    except OSError:
        # What was written until the disk was full is no help.
        path.unlink(missing_ok=True)
        return False
    finally:
        os.close(fd)
    return True


def _free_bytes(journal: Path) -> int:
    """What Squid's user may still write; as if there were room, if nobody can tell."""
    try:
        found = os.statvfs(journal.parent)
    except OSError:
        return _FULL_BYTES
    return found.f_bavail * found.f_frsize
