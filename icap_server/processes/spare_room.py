"""How workers tell each other who has room for another connection."""

from __future__ import annotations

import fcntl
from typing import Final

_ONE_BYTE: Final = 1


class SpareRoom:
    """A record lock (fcntl(2)) on a file that all workers have inherited.

    Each worker that has room holds the lock as a shared one, so a worker that gets it
    exclusively knows that no other has room. The system ends the locks of a process that
    ends, whatever the reason.

    Args:
        descriptor: the file's, open for reading and writing; None for a worker that is
            the only one.
    """

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor
        self._is_announced = False

    def announce(self, *, has_room: bool) -> None:
        """Tell the others whether this worker has room.

        To be repeated: while another worker asks (`is_elsewhere`), room cannot be
        announced, and this does not wait.
        """
        if self._descriptor is None or has_room == self._is_announced:
            return
        wanted = fcntl.LOCK_SH | fcntl.LOCK_NB if has_room else fcntl.LOCK_UN
        self._is_announced = self._lock(wanted) and has_room

    def is_elsewhere(self) -> bool:
        """Whether another worker has room. Only for one that has announced that it has none.

        The exclusive lock is held for microseconds. If two workers ask at the same time,
        one of them is told that there is room, and asks again the next time.
        """
        if self._descriptor is None:
            return False
        if not self._lock(fcntl.LOCK_EX | fcntl.LOCK_NB):
            return True
        self._lock(fcntl.LOCK_UN)
        return False

    def _lock(self, operation: int) -> bool:
        assert self._descriptor is not None  # noqa: S101 (asked by the callers)
        try:
            fcntl.lockf(self._descriptor, operation, _ONE_BYTE)
        except (BlockingIOError, PermissionError):
            # POSIX allows either error when another process has the lock.
            return False
        return True
