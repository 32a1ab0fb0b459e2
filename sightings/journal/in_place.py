"""Whether an open journal still lies where its path says, and how it is left if not.

A file that is moved or deleted while it is open goes on to be written, and nobody sees what
goes into it. Whoever deletes it means so; what is recorded later must go where others look.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path
from typing import NamedTuple

from inkgate.config.locks import lock_folder


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
    return file_id(path) == opened and os.path.exists(f"{path}-wal")  # noqa: PTH110


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
