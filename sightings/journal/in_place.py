"""Whether an open journal still lies where its path says, and how it is left if not.

A file that is moved or deleted while it is open goes on to be written, and nobody sees what
goes into it. Whoever deletes it means so; what is recorded later must go where others look.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path
from typing import Final, NamedTuple

from inkgate.config.locks import lock_folder

# The least that SQLite maps of the index of its log (WALINDEX_PGSZ).
_INDEX_BYTES: Final = 32_768


class FileId(NamedTuple):
    """What tells a file from another one of the same name."""

    device: int
    inode: int


def file_id(path: Path) -> FileId | None:
    """The file that lies there; None if there is none, or it cannot be told."""
    try:
        found = os.stat(path)  # noqa: PTH116 (twice for each write)
    except OSError:
        return None
    return FileId(found.st_dev, found.st_ino)


def is_in_place(path: Path, opened: FileId | None) -> bool:
    """Whether what was opened is what lies there, with the log that belongs to it."""
    is_there = file_id(path) == opened and os.path.exists(f"{path}-wal")  # noqa: PTH110
    return not was_cut_off(path) and is_there


class Extent(NamedTuple):
    """How large a journal and its log are. Neither gets smaller while it is open.

    Attributes:
        file, log: bytes.
        log_id: which file the log is.
    """

    file: int
    log: int
    log_id: int


def extent(path: Path) -> Extent:
    """That of a journal now; what is not there has nothing."""
    file, log = _stat(str(path)), _stat(f"{path}-wal")
    return Extent(file.st_size if file else 0, log.st_size if log else 0, log.st_ino if log else 0)


def forget_log(path: Path) -> None:
    """Have the log's index made anew from what is left of a log that was cut off.

    Otherwise SQLite would go on behind the gap, and nobody could read what it writes.
    """
    index = f"{path}-shm"
    with contextlib.suppress(OSError):
        os.truncate(index, 0)
        os.truncate(index, _INDEX_BYTES)


def _stat(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)  # noqa: PTH116 (twice for each write)
    except OSError:
        return None


def was_cut_off(path: Path) -> bool:
    """Whether the index of a journal's log was cut off; then it has its size again.

    SQLite has it mapped: an access beyond its end, also at closing, ends the process
    (SIGBUS). An index of zeros is made anew from the log. By its name, since to open and
    close the file would give up SQLite's locks on it.
    """
    index = f"{path}-shm"
    with contextlib.suppress(OSError):
        if os.stat(index).st_size < _INDEX_BYTES:  # noqa: PTH116 (for each write)
            os.truncate(index, _INDEX_BYTES)
            return True
    return False


def leave(connection: sqlite3.Connection, path: Path, busy_seconds: float) -> None:
    """Close a journal that does not lie at its path any more.

    All records that were committed go into the file, wherever it is now. SQLite leaves the
    log at the old path, where the next file would take it for its own; so it is removed,
    unless another process has made the next file already.
    """
    with contextlib.suppress(OSError), lock_folder(path.parent, busy_seconds):
        if not path.exists():
            with contextlib.suppress(sqlite3.Error):
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            for suffix in ("-wal", "-shm"):
                path.with_name(path.name + suffix).unlink(missing_ok=True)
    connection.close()
