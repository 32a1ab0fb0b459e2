"""Files that are made once and never replaced: keys and other secrets."""

from __future__ import annotations

import os
from pathlib import Path


def make_once(path: Path, data: bytes, mode: int) -> bool:
    """Make a file with all of its content, unless it exists. Whether it was made here.

    Written aside and linked (link(2) never replaces): whoever comes second, and
    whoever looks after a kill in the middle, sees all of the file or none.

    Raises:
        OSError: it can neither be made nor found.
    """
    if path.exists():
        return False
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(fd, "wb") as file:
            os.fchmod(fd, mode)
            file.write(data)
            file.flush()
            os.fsync(fd)
        os.link(temporary, path)
    except FileExistsError:
        return False
    finally:
        temporary.unlink()
    return True


def swap_link(link: Path, target: Path) -> None:
    """Point a symbolic link at a sibling atomically: rename(2) replaces it in one step."""
    temporary = link.with_name(f".{link.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(os.path.relpath(target, link.parent))
    temporary.replace(link)
    sync_folder(link.parent)


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries, so that a rename survives a power cut (fsync(2))."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
