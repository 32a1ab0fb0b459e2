"""What another user may do with a file, by the modes and owners on the way to it.

Asked by who looks after that user's files, without becoming that user. Access control
lists are not read: their mask shows in the group's bits.
"""

from __future__ import annotations

import itertools
import os
import pwd
import stat
from pathlib import Path
from typing import Final, NamedTuple

READ: Final = 4
WRITE: Final = 2
ENTER: Final = 1


class Account(NamedTuple):
    """A user with all groups."""

    name: str
    uid: int
    groups: frozenset[int]

    def may(self, what: int, found: os.stat_result) -> bool:
        """Whether this user may do something with what has these modes and owners.

        Args:
            what: READ, WRITE, ENTER (of a file: run) or a sum of them.
        """
        if self.uid == 0:
            return True
        shift = 6 if found.st_uid == self.uid else 3 if found.st_gid in self.groups else 0
        return found.st_mode >> shift & what == what


def account(name: str) -> Account | None:
    """A user of this machine, or None if there is none of that name."""
    try:
        found = pwd.getpwnam(name)
    except KeyError:
        return None
    return Account(name, found.pw_uid, frozenset(os.getgrouplist(name, found.pw_gid)))


def account_of(uid: int) -> Account:
    """A user by the number, which need not have a name."""
    try:
        found = account(pwd.getpwuid(uid).pw_name)
    except KeyError:
        found = None
    return found or Account(str(uid), uid, frozenset())


def obstacle(user: Account, path: Path, what: int) -> Path | None:
    """What keeps a user from doing something with a file: it, or a folder on the way.

    Returns:
        None if nothing does.

    Raises:
        OSError: it is not there, or this process cannot look at it.
    """
    for place in _places(path):
        for folder in reversed(place.parents):
            if not user.may(ENTER, folder.stat()):
                return folder
    return None if user.may(what, path.stat()) else path


def changeable(user: Account, path: Path) -> Path | None:
    """By what a user may change a file: it, or a folder on the way in which to exchange it.

    Who owns something counts as who may change it, since an owner sets the modes.

    Returns:
        None if by nothing.

    Raises:
        OSError: it is not there, or this process cannot look at it.
    """
    for place in _places(path):
        on_the_way = [*reversed(place.parents), place]
        for folder, below in itertools.pairwise(on_the_way):
            found = folder.stat()
            if _may_exchange(user, found, below.lstat()):
                return folder
            if not user.may(ENTER, found):
                break
    found = path.stat()
    may_write = user.may(WRITE, found) and obstacle(user, path, WRITE) is None
    return path if found.st_uid == user.uid or may_write else None


def _may_exchange(user: Account, folder: os.stat_result, below: os.stat_result) -> bool:
    is_kept = folder.st_mode & stat.S_ISVTX and below.st_uid != user.uid
    return folder.st_uid == user.uid or (user.may(WRITE | ENTER, folder) and not is_kept)


def _places(path: Path) -> tuple[Path, ...]:
    """A path, and where the links in it lead."""
    return path.absolute(), path.resolve()
