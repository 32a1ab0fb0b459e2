"""LMDB files: what LMDB itself does not check."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final, NamedTuple

import lmdb

from inkgate.config.locks import open_lock_file

_LEAST_BYTES: Final = 512 + 64


def is_whole(env: lmdb.Environment, path: Path) -> bool:
    """Whether every page is there: reading past the end of a mapped file ends the process."""
    # First what is needed: another process may be writing, and the file only grows.
    needed = whole_bytes(env)
    return path.stat().st_size >= needed


def whole_bytes(env: lmdb.Environment) -> int:
    """The size of a file that has all of its pages."""
    pages: int = env.info()["last_pgno"] + 1
    page_size: int = env.stat()["psize"]
    return pages * page_size


def lock_path(path: Path) -> Path:
    """Where LMDB has the locks of a file."""
    return path.with_name(f"{path.name}-lock")


class OpenedFile(NamedTuple):
    """A file as it was when LMDB mapped it. It never gets smaller by itself.

    Attributes:
        path: where it lay.
        device, inode: which file it is.
        bytes: its size.
    """

    path: Path
    device: int
    inode: int
    bytes: int

    @classmethod
    def at(cls, path: Path) -> OpenedFile:
        """The file that lies there.

        Raises:
            OSError: there is none.
        """
        found = path.stat()
        return cls(path, found.st_dev, found.st_ino, found.st_size)

    def size(self) -> int:
        """Its size now; -1 if it is not there any more."""
        try:
            found = os.stat(self.path)  # noqa: PTH116 (before each access)
        except OSError:
            return -1
        return found.st_size if (found.st_dev, found.st_ino) == self[1:3] else -1

    def restore(self) -> None:
        """Give it its size back, if it is there.

        Raises:
            OSError: there is no room.
        """
        if 0 <= self.size() < self.bytes:
            fd = os.open(self.path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                os.posix_fallocate(fd, 0, self.bytes)
            finally:
                os.close(fd)


def allocate_lock(path: Path, readers: int, mode: int) -> None:
    """Make the lock file of an LMDB file, or fill the holes of the one that is there.

    LMDB maps it without writing it first. On a full disk the first access to a hole ends the
    process (SIGBUS); here it is an error.

    Raises:
        OSError: there is no room for it, or it cannot be opened.
    """
    # 64 bytes a reader, and a head of less than 512 bytes. A file in use keeps its size, by
    # which LMDB counts the readers, unless it was cut off.
    fd = open_lock_file(lock_path(path), mode)
    try:
        found = os.fstat(fd).st_size
        os.posix_fallocate(fd, 0, found if found >= _LEAST_BYTES else readers * 64 + 512)
    finally:
        os.close(fd)
