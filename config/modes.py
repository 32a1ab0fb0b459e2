"""Modes and owners of new files and folders, whatever the umask of the caller is.

mkdir(2) and open(2) take the umask's bits away from the mode that they are given, so one
command would make a rule set that Squid's user cannot read (umask 077) and another one a
folder that everybody can write to (umask 000).
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path


def make_folder(path: Path, mode: int, *, parents: int = 0o755) -> None:
    """Make a folder with a mode, unless it exists: then it keeps the mode that it has.

    The set-group-ID bit of the folder in which it is made is inherited (mkdir(2)) and stays.

    Args:
        parents: the mode of parents that are missing.

    Raises:
        OSError: it cannot be made, or something else lies there.
    """
    if path.is_dir():
        return
    if not path.parent.is_dir():
        make_folder(path.parent, parents, parents=parents)
    try:
        path.mkdir(mode=mode)
    except FileExistsError:
        if not path.is_dir():
            raise
        # Somebody else was faster; the mode is his to set.
        return
    fd = open_folder(path)
    try:
        set_folder_mode(fd, mode)
    finally:
        os.close(fd)
    sync_folder(path.parent)


def open_folder(path: Path) -> int:
    """Open a folder that was just made, and nothing that a link in its place leads to.

    Whoever owns the folder above may have exchanged it. chmod(2) would follow the link, and
    root would let everybody read a file of somebody else's choice.

    Raises:
        OSError: no folder lies there.
    """
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)


def set_folder_mode(fd: int, mode: int) -> None:
    """Give a folder, open as `fd`, a mode; a set-group-ID bit that it has stays."""
    now = stat.S_IMODE(os.fstat(fd).st_mode)
    wanted = mode | now & stat.S_ISGID
    # fchmod(2) by somebody outside of the group would take the bit away.
    if now != wanted:
        os.fchmod(fd, wanted)


def set_file_mode(fd: int, mode: int, *, owner_of: Path | None = None) -> None:
    """Give a new file, open as `fd`, its mode.

    Args:
        owner_of: a folder; made by root, the file belongs to that folder's owner and group.
    """
    os.fchmod(fd, mode)
    if owner_of is not None and os.geteuid() == 0:
        folder = owner_of.stat()
        os.fchown(fd, folder.st_uid, folder.st_gid)


def set_owner(fd: int, user: int, group: int, mode: int) -> None:
    """Give a file, open as `fd`, the owner and the mode of the one that it replaces.

    Only root can give a file away: for anybody else it stays his own.
    """
    if os.geteuid() == 0:
        os.fchown(fd, user, group)
    # After fchown(2), which takes set-ID bits away.
    os.fchmod(fd, mode)


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries, so that a rename survives a power cut (fsync(2)).

    Raises:
        OSError: the disk failed.
    """
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    except OSError as error:
        # Some network file systems cannot do it, and a mailbox may lie on one.
        if error.errno != errno.EINVAL:
            raise
    finally:
        os.close(fd)
