"""What the workers tell each other: who has room for another connection."""

from __future__ import annotations

import fcntl
from typing import Final

_ONE_BYTE: Final = 1


class Vacancy:
    """A record lock (fcntl(2)) on a file that all workers have.

    Who has room shares the lock. A lock ends with its process, however that ends, so
    nobody waits for the dead.

    Args:
        descriptor: the file's, open for reading and writing; None for a lonely worker.
    """

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor
        self._told = False

    def tell(self, *, has_room: bool) -> None:
        """Tell the others. May be repeated, and should be: see `elsewhere`."""
        if self._descriptor is None or has_room == self._told:
            return
        wanted = fcntl.LOCK_SH | fcntl.LOCK_NB if has_room else fcntl.LOCK_UN
        self._told = self._lock(wanted) and has_room

    def elsewhere(self) -> bool:
        """Whether another worker has room. Only for one that has told that it has none.

        Nobody else can tell or ask within these microseconds; who tries is put off to
        its next time.
        """
        if self._descriptor is None:
            return False
        if not self._lock(fcntl.LOCK_EX | fcntl.LOCK_NB):
            return True
        self._lock(fcntl.LOCK_UN)
        return False

    def _lock(self, operation: int) -> bool:
        assert self._descriptor is not None  # noqa: S101
        try:
            fcntl.lockf(self._descriptor, operation, _ONE_BYTE)
        except (BlockingIOError, PermissionError):
            # POSIX leaves open which of them says that somebody else has it.
            return False
        return True
