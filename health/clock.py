"""What time it is, as far as a wall clock can be believed that somebody may set.

A rule set must not seem to be past its expiry only because the clock jumped by a year. So
each process notes now and then what the wall clock said at which time since the machine's
start; whoever finds the wall clock far from what these notes lead to goes by the notes.
A restart of the machine ends that: then the wall clock is all there is.
"""

from __future__ import annotations

import contextlib
import os
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from inkgate.config.locks import open_lock_file
from inkgate.config.owner import OwnerError, as_owner
from inkgate.health.layout import boot_id

NOTE: Final = "clock.json"
# Clocks are set by seconds all the time, and by hours where a time zone is mistaken.
JUMP_SECONDS: Final = 86_400.0
_MODE: Final = 0o640
_KEEP_SECONDS: Final = 60.0
_MAX_BYTES: Final = 4096


class Note(msgspec.Struct, frozen=True):
    """What the wall clock said. Times in seconds.

    Attributes:
        boot: which start of the machine (random(4), boot_id).
        since_boot: time since then, suspensions included (CLOCK_BOOTTIME).
        wall: the wall clock, since 1970.
    """

    boot: str
    since_boot: float
    wall: float


class Clock:
    """Tells the time and notices jumps.

    Args:
        folder: where notes are kept; None for those of this process alone.
        wall, since_boot: the clocks.

    Attributes:
        jump: seconds by which the wall clock was found to have jumped; 0 while it fits.
    """

    def __init__(
        self,
        folder: Path | None,
        *,
        wall: Callable[[], float] = time.time,
        since_boot: Callable[[], float] = lambda: time.clock_gettime(time.CLOCK_BOOTTIME),
    ) -> None:
        self._path = folder / NOTE if folder else None
        self._wall = wall
        self._since_boot = since_boot
        self._boot = boot_id()
        self.jump = 0.0
        self._kept_at = -_KEEP_SECONDS
        note = self._read()
        self._note = note if note and note.boot == self._boot else self._now()

    def now(self) -> float:
        """Seconds since 1970, from the notes if the wall clock has jumped."""
        expected = self._note.wall + self._since_boot() - self._note.since_boot
        wall = self._wall()
        if abs(wall - expected) < JUMP_SECONDS:
            self.jump = 0.0
            return wall
        self.jump = wall - expected
        return expected

    def keep(self) -> None:
        """Note the time for the next process, once a minute.

        Not while the clock stands where it jumped to.
        """
        self.now()
        since_boot = self._since_boot()
        if self.jump or since_boot - self._kept_at < _KEEP_SECONDS:
            return
        self._kept_at = since_boot
        self._note = self._now()
        if self._path is not None:
            with contextlib.suppress(OwnerError, OSError):
                self._write(self._path, msgspec.json.encode(self._note))

    def _now(self) -> Note:
        return Note(self._boot, self._since_boot(), self._wall())

    def _read(self) -> Note | None:
        if self._path is None:
            return None
        with contextlib.suppress(OwnerError, OSError), as_owner(self._path.parent):
            return _read_note(self._path)
        return None

    @staticmethod
    def _write(path: Path, data: bytes) -> None:
        # A note that a kill cuts off is no note, and the wall clock is believed.
        with as_owner(path.parent):
            fd = open_lock_file(path, _MODE)
            try:
                os.pwrite(fd, data.ljust(_MAX_BYTES), 0)
            finally:
                os.close(fd)


def _read_note(path: Path) -> Note | None:
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return None
        return msgspec.json.decode(os.read(fd, _MAX_BYTES), type=Note)
    except (msgspec.MsgspecError, UnicodeError, OSError):
        return None
    finally:
        os.close(fd)
