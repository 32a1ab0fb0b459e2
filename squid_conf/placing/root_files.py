"""Changes of files that Squid reads as root: each whole, and all of them undone together.

Whoever could exchange a folder or a file on the way could have root write elsewhere, or have
Squid start a program of his. So every folder on the way must belong to root.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

from inkgate.config.modes import make_folder, set_owner, sync_folder
from inkgate.config.whole_file import write_whole, writing_whole
from inkgate.squid_conf.word import SquidConfError

BACKUPS: Final = "inkgate-backup"
_BACKUPS_MODE: Final = 0o700
_MAX_BYTES: Final = 64 << 20
# As many as Linux follows.
_MAX_LINKS: Final = 40
_WRITABLE: Final = stat.S_IWGRP | stat.S_IWOTH


class Owner(NamedTuple):
    """Whom a file belongs to, and its mode."""

    user: int
    group: int
    mode: int


class Change(NamedTuple):
    """A file that is to be written or removed.

    Attributes:
        path: the file itself, no link to it.
        data: None: it is removed.
        owner: None: it belongs to who writes it, with mode 0644.
    """

    path: Path
    data: bytes | None
    owner: Owner | None = None


class Before(NamedTuple):
    """What a changed file was.

    Attributes:
        data: None: it was not there.
    """

    path: Path
    data: bytes | None
    owner: Owner | None


def real_file(path: Path) -> Path:
    """The file that a path leads to, if nobody but root may change the way there.

    Raises:
        SquidConfError: somebody else may change a folder or link on the way, or it is no
            regular file.
    """
    real = _walk(path.absolute())
    try:
        status = real.lstat()
    except FileNotFoundError:
        return real
    if not stat.S_ISREG(status.st_mode):
        raise SquidConfError(f"{real}: is no regular file; move it out of the way")
    _require_owner(real, status)
    return real


def read_file(path: Path) -> Before:
    """What a file is now; nothing if it is not there.

    Raises:
        SquidConfError: it is too large.
        OSError: it cannot be read.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return Before(path, None, None)
    with os.fdopen(fd, "rb") as file:
        status = os.fstat(fd)
        data = file.read(_MAX_BYTES + 1)
    if len(data) > _MAX_BYTES:
        raise SquidConfError(f"{path}: is larger than 64 MiB; this is not a file of Squid's")
    return Before(path, data, Owner(status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)))


def apply(changes: Sequence[Change], folder: Path) -> list[Before]:
    """Make changes in their order, and keep what was there before in a folder of backups.

    Args:
        folder: in which the folder of backups lies, or is made.

    Returns:
        what to give to `undo`.

    Raises:
        OSError: a change could not be made; those before it are undone.
    """
    before = [read_file(change.path) for change in changes]
    _back_up(before, folder / BACKUPS)
    done: list[Before] = []
    try:
        for change, was in zip(changes, before, strict=True):
            _make(change)
            done.append(was)
    except OSError:
        undo(done)
        raise
    return done


def undo(before: Iterable[Before]) -> None:
    """Put files back as they were, the last change first.

    Raises:
        OSError: one cannot be written.
    """
    for was in reversed(list(before)):
        _make(Change(was.path, was.data, was.owner))


def _make(change: Change) -> None:
    if change.data is None:
        change.path.unlink(missing_ok=True)
        sync_folder(change.path.parent)
    elif change.owner is None:
        write_whole(change.path, change.data, 0o644)
    else:
        with writing_whole(change.path, change.owner.mode) as file:
            set_owner(file.fileno(), *change.owner)
            file.write(change.data)


def _back_up(before: Iterable[Before], folder: Path) -> None:
    real_file(folder / "x")
    make_folder(folder, _BACKUPS_MODE)
    when = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    for was in before:
        if was.data is not None:
            # Squid's configuration may hold passwords of other proxies.
            write_whole(folder / f"{when}-{was.path.name}", was.data, 0o600)


def _walk(path: Path) -> Path:
    """The file that a path leads to, with each folder and link on the way looked at.

    The end alone does not tell: a link of root's may lead to a link of somebody else's.
    """
    left, here, links = list(path.parts[1:]), Path("/"), 0
    _require_root(here)
    while left:
        step = here / left.pop(0)
        if step.name == "..":
            here = here.parent
            continue
        is_link = step.is_symlink()
        if left or is_link:
            _require_root(step)
        if not is_link:
            here = step
            continue
        links += 1
        if links > _MAX_LINKS:
            raise SquidConfError(f"{path}: too many links; name the file itself")
        target = step.readlink()
        left = [*(target.parts[1:] if target.is_absolute() else target.parts), *left]
        here = Path("/") if target.is_absolute() else here
    return here


def _require_root(folder: Path) -> None:
    try:
        status = folder.lstat()
    except FileNotFoundError:
        return
    _require_owner(folder, status)


def _require_owner(path: Path, status: os.stat_result) -> None:
    if status.st_uid not in (0, os.geteuid()):
        raise SquidConfError(
            f"{path}: belongs to user {status.st_uid}, who could have root write elsewhere; "
            f"chown root {path}, or name a file in a folder of root's"
        )
    mode = status.st_mode
    if stat.S_ISLNK(mode) or mode & stat.S_ISVTX:
        return
    by_group = mode & stat.S_IWGRP and status.st_gid != 0
    if by_group or mode & stat.S_IWOTH:
        raise SquidConfError(
            f"{path}: others than its owner may change it, and so have root write elsewhere; "
            f"chmod go-w {path}"
        )
