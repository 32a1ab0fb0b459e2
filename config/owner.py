"""Folders of other users: what root does there, it does as their owner.

Whoever may change a folder may put a link, a pipe or a file of his own in place of what
lies in it, at any moment. Root would follow the link with all of its rights. So a path is
walked from the root of the file system by descriptors: as far as only root and this user
can change it, links are followed, since the administrator made them; from the first folder
on that belongs to somebody else, everything is done as that user, who gains nothing by it.
"""

from __future__ import annotations

import contextlib
import fcntl
import grp
import os
import pwd
import stat
import termios
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from inkgate.config.errors import InkgateError

_PATH: Final = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# As the kernel has it (path_resolution(7)).
_MOST_LINKS: Final = 40
# Ids belong to the process, not to the thread: one thread at a time may be somebody else.
_switching: Final = threading.RLock()


class OwnerError(InkgateError):
    """A folder that this user must not use, or as whose owner nothing can be done."""


class User(NamedTuple):
    """A user of this machine.

    Attributes:
        name: as in passwd(5), or the number if that has none.
    """

    uid: int
    gid: int
    name: str

    def groups(self) -> list[int]:
        """All groups of the user."""
        try:
            return os.getgrouplist(pwd.getpwuid(self.uid).pw_name, self.gid)
        except KeyError:
            return [self.gid]


def other_owner(path: Path) -> User | None:
    """Who, besides root and this user, decides what lies at a path; None if nobody does.

    It is the owner of the first folder on the way that belongs to somebody else, or of the
    path itself. What is not there yet belongs to whoever makes it.

    Raises:
        OwnerError: a folder on the way may be changed by a group or by everybody.
        OSError: it cannot be looked at.
    """
    fd = os.open("/", _PATH)
    try:
        return _walk(fd, path)
    finally:
        os.close(fd)


def refuse_other_owner(path: Path) -> None:
    """Let root use no folder that somebody else may change.

    A last safeguard where files are opened by path: whoever calls as root has become the
    owner before (`become_owner`, `as_owner`).

    Raises:
        OwnerError: this is root, and somebody else may change it.
        OSError: it cannot be looked at.
    """
    if os.geteuid() == 0 and (owner := other_owner(path)) is not None:
        raise OwnerError(
            f"{path}: belongs to user {owner.name}, so root uses nothing in it; "
            f"run this as that user (runuser -u {owner.name} --pty -- …)"
        )


def become_owner(*paths: Path) -> User | None:
    """Become the owner of folders, for good. Nothing happens if root or this user owns them.

    What only root may read is read before. From then on whoever owns the folders may end
    this process, but neither look into it (proc(5), dumpable) nor use its former rights.
    Programs that it starts can be looked into: so it leaves root's terminal before, for
    whoever holds a process of a terminal's can type into it (TIOCSTI).

    Returns:
        The owner; None if this is no other user now.

    Raises:
        OwnerError: they belong to different users, or see `other_owner`.
        OSError: they cannot be looked at.
    """
    if os.geteuid() != 0:
        return None
    owners = {path: other_owner(path) for path in dict.fromkeys(paths)}
    distinct = set(owners.values())
    if len(distinct) > 1:
        said = ", ".join(f"{p} to {o.name if o else 'root'}" for p, o in owners.items())
        raise OwnerError(f"these folders belong to different users ({said}); give them to one")
    owner = distinct.pop() if distinct else None
    if owner is not None:
        _leave_terminal()
        with _refusals(owner):
            os.setgroups(owner.groups())
            os.setresgid(owner.gid, owner.gid, owner.gid)
            os.setresuid(owner.uid, owner.uid, owner.uid)
    return owner


@contextlib.contextmanager
def as_owner(path: Path) -> Iterator[None]:
    """Be the owner of a folder in the `with`; for what needs root before and after.

    All threads of the process change with it, so keep it short.

    Raises:
        OwnerError: see `other_owner`.
        OSError: the folder cannot be looked at.
    """
    if os.getuid() != 0:
        yield
        return
    with _switching:
        owner = other_owner(path) if os.geteuid() == 0 else None
        if owner is None:
            yield
            return
        groups, gid = os.getgroups(), os.getegid()
        try:
            with _refusals(owner):
                os.setgroups(owner.groups())
                os.setegid(owner.gid)
                os.seteuid(owner.uid)
            yield
        finally:
            os.seteuid(0)
            os.setegid(gid)
            os.setgroups(groups)


def _leave_terminal() -> None:
    """Have no controlling terminal any more; Ctrl-C still comes, and output still goes there."""
    if os.getsid(0) == os.getpid():
        # Nobody of root's reads that terminal beside or after this process, and its
        # leader's leaving would end them all (SIGHUP).
        return
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return
    try:
        fcntl.ioctl(terminal, termios.TIOCNOTTY)
    finally:
        os.close(terminal)


@contextlib.contextmanager
def _refusals(owner: User) -> Iterator[None]:
    try:
        yield
    except PermissionError:
        raise OwnerError(
            f"root cannot become user {owner.name} here (capabilities CAP_SETUID and "
            f"CAP_SETGID); run this as user {owner.name}"
        ) from None


def _walk(root: int, path: Path) -> User | None:
    way = _Way(root, path)
    try:
        while way.names:
            found = way.next()
            if found is None:
                return None
            if (owner := _stranger(found)) is not None:
                return owner
            # In a folder with the sticky bit nobody exchanges what is somebody else's.
            way.refuse_shared(sticky=True)
            if not way.enter(found):
                return None
        way.refuse_shared()
        return _stranger(os.fstat(way.fds[-1]))
    finally:
        _close(way.fds[1:])


class _Way:
    """How far a path has been walked.

    Attributes:
        names: still to be walked, the next one last.
        fds: the folders down to the present one, the root of the file system first.
    """

    def __init__(self, root: int, path: Path) -> None:
        self.names = _names(path.absolute())
        self.fds = [root]
        self._path = path
        self._name = ""
        self._links = 0

    def next(self) -> os.stat_result | None:
        """What lies at the next name; None if nothing does."""
        self._name = self.names.pop()
        try:
            return os.stat(self._name, dir_fd=self.fds[-1], follow_symlinks=False)
        except FileNotFoundError:
            self.refuse_shared(sticky=True)
            return None

    def enter(self, found: os.stat_result) -> bool:
        """Go on through a folder or a link; False if it is neither."""
        if stat.S_ISLNK(found.st_mode):
            self._follow()
        elif not stat.S_ISDIR(found.st_mode):
            return False
        elif self._name == "..":
            self._up()
        else:
            self.fds.append(os.open(self._name, _PATH, dir_fd=self.fds[-1]))
        return True

    def refuse_shared(self, *, sticky: bool = False) -> None:
        """Refuse a folder in which a group or everybody may exchange what is to be used.

        Args:
            sticky: whether it is enough that they may exchange only what is theirs.
        """
        found = os.fstat(self.fds[-1])
        by_all = found.st_mode & stat.S_IWOTH
        by_group = found.st_mode & stat.S_IWGRP and found.st_gid not in (0, os.getegid())
        if not (by_all or by_group) or (sticky and found.st_mode & stat.S_ISVTX):
            return
        who = "everybody" if by_all else f"the group {_group(found.st_gid)}"
        place = Path(f"/proc/self/fd/{self.fds[-1]}").readlink()
        raise OwnerError(
            f"{self._path}: {who} may change {place}, so nothing in it can be relied on; "
            f"give it to the user who is to change it (chown), and run chmod go-w {place}"
        )

    def _follow(self) -> None:
        self._links += 1
        if self._links > _MOST_LINKS:
            raise OwnerError(f"{self._path}: too many links on the way; correct the path")
        target = os.readlink(self._name, dir_fd=self.fds[-1])
        if target.startswith("/"):
            _close(self.fds[1:])
            del self.fds[1:]
        self.names += _names(Path(target))

    def _up(self) -> None:
        if len(self.fds) > 1:
            os.close(self.fds.pop())


def _names(path: Path) -> list[str]:
    """The names on the way, the first one last."""
    return [name for name in reversed(path.parts) if name != "/"]


def _stranger(found: os.stat_result) -> User | None:
    """The owner, unless it is root or this user."""
    return None if found.st_uid in (0, os.geteuid()) else _user(found.st_uid)


def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def _user(uid: int) -> User:
    try:
        found = pwd.getpwuid(uid)
    except KeyError:
        return User(uid, uid, str(uid))
    return User(uid, found.pw_gid, found.pw_name)


def _close(fds: list[int]) -> None:
    for fd in fds:
        os.close(fd)
