"""LMDB files: what LMDB itself does not check."""

from __future__ import annotations

import os
from pathlib import Path

import lmdb

from inkgate.config.locks import open_lock_file


def is_whole(env: lmdb.Environment, path: Path) -> bool:
    """Whether every page is there: reading past the end of a mapped file ends the process."""
    pages: int = env.info()["last_pgno"] + 1
    page_size: int = env.stat()["psize"]
    return path.stat().st_size >= pages * page_size


def allocate_lock(path: Path, readers: int, mode: int) -> None:
    """Make the lock file of an LMDB file, or fill the holes of the one that is there.

    LMDB maps it without writing it first. On a full disk the first access to a hole ends the
    process (SIGBUS); here it is an error.

    Raises:
        OSError: there is no room for it, or it cannot be opened.
    """
    # 64 bytes a reader, and a head of less than 512 bytes. A file in use keeps its size, by
    # which LMDB counts the readers.
    fd = open_lock_file(path.with_name(f"{path.name}-lock"), mode)
    try:
        os.posix_fallocate(fd, 0, os.fstat(fd).st_size or readers * 64 + 512)
    finally:
        os.close(fd)
