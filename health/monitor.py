"""What a process tells of its own health: conditions that it meets, and that they are over."""

from __future__ import annotations

import contextlib
import errno
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from inkgate.config.modes import make_folder
from inkgate.config.owner import OwnerError, as_owner
from inkgate.config.printable import Log
from inkgate.health.conditions import BY_NAME, CONDITIONS, NAMES, Condition
from inkgate.health.counters import Counters
from inkgate.health.layout import SEEN
from inkgate.health.reading import ProcessCounters, fold_dead

# How soon a condition is said again in the log; one that lasts, at twice the interval each time.
SAY_AGAIN_SECONDS: Final = 60.0
MOST_SECONDS: Final = 3600.0
ENDED: Final = "ended"
WHY: Final = ".why"
# When the process last looked after itself (`remind`), in seconds since 1970.
BY_FAIL: Final = "by-fail"
REQUESTS: Final = "requests"
# How soon a folder that cannot be used is tried again.
_FOLDER_AGAIN_SECONDS: Final = 10.0
_FOLDER_MODE: Final = 0o750
# The state has room for the reasons of all conditions together.
MOST_WHY: Final = 300
_OF_CONDITIONS: Final = (
    *(f"{name}{kind}" for name in NAMES for kind in ("", ".last")),
    *(f"{condition.name}.now" for condition in CONDITIONS if condition.lasts),
)


class Monitor:
    """Counts and dates what goes wrong in this process. For many threads.

    A folder that cannot be used is said once; then the numbers are this process's alone,
    until it can be used again (`remind`).

    Args:
        folder: of the counters; None for a process that nobody watches.
        program: the command.
        log: takes one line without secrets.
        heir_of: other programs whose dead processes' numbers are taken over as well.
    """

    def __init__(
        self, folder: Path | None, program: str, log: Log, heir_of: Sequence[str] = ()
    ) -> None:
        self._log = log
        self._program = program
        self._lock = threading.Lock()
        self._said: dict[str, float] = {}
        self._unsaid: dict[str, int] = {}
        self._pauses: dict[str, float] = {}
        self._details: dict[str, str] = {}
        self._state: dict[str, str | float] = {}
        self._folder = folder
        self._was_kept = self._is_unkept = False
        self._try_folder_at = 0.0
        names = (ENDED, SEEN, REQUESTS, BY_FAIL, *_OF_CONDITIONS)
        self._has_ended = False
        self._counters = Counters(None, program, names)
        self._keep_in_folder()
        if folder is not None:
            with contextlib.suppress(OwnerError, OSError):
                fold_dead(folder, (program, *heir_of), self._inherit)

    def met(self, name: str, detail: str = "", count: int | None = None) -> None:
        """A condition is met: count it, date it and say it, though not every time.

        A condition that lasts may be said to be met again and again: it is counted once,
        and said at longer and longer intervals.

        Args:
            name: from the table of conditions.
            detail: what exactly, without secrets; without it, as it was said before.
            count: how many requests (or incidents, or rules) it concerns, if not one
                for each time that it begins.

        Raises:
            KeyError: the table has no such condition.
        """
        condition = BY_NAME[name]
        counters = self._counters
        if count is None:
            count = 0 if condition.lasts and counters.value(f"{name}.now") else 1
        counters.add(name, count)
        counters.set(f"{name}.last", int(time.time()))
        if condition.lasts:
            counters.set(f"{name}.now", 1)
        is_new = condition.lasts and detail != "" and detail != self._details.get(name)
        if detail:
            self._details[name] = detail
        if is_new:
            self.state(**{f"{name}{WHY}": detail[:MOST_WHY]})
        unsaid = self._not_said_for(condition, count, at_once=is_new)
        if unsaid is not None:
            self._say_met(condition, unsaid)

    def remind(self) -> None:
        """Say what was met since its last line, once the time has come. Call it now and then.

        A folder of counters that was removed or replaced is noticed here, too.
        """
        self._keep_in_folder()
        now = int(time.time())
        if now != self._counters.value(SEEN):
            self._counters.set(SEEN, now)
        if not any(self._unsaid.values()):
            return
        for name in self._waiting():
            unsaid = self._not_said_for(BY_NAME[name], 0)
            if unsaid:
                self._say_met(BY_NAME[name], unsaid)

    def over(self, name: str, detail: str) -> None:
        """A condition that lasts is over: say so, if it was there.

        Args:
            name: from the table of conditions.
            detail: what is the case now, without secrets.

        Raises:
            KeyError: the table has no such condition, or it is not one that lasts.
        """
        if not self._counters.value(f"{name}.now"):
            return
        self._counters.set(f"{name}.now", 0)
        with self._lock:
            for noted in (self._said, self._unsaid, self._pauses):
                noted.pop(name, None)
        if self._details.pop(name, None) is not None:
            self.state(**{f"{name}{WHY}": ""})
        self.say(f"recovered: {name}: {detail}")

    def mended(self, name: str, detail: str) -> None:
        """What a condition that does not last came from is mended: say so, if it was met.

        What was not said yet is said before, and not as if it came after.

        Args:
            name: from the table of conditions.
            detail: what is the case now, without secrets.

        Raises:
            KeyError: the table has no such condition.
        """
        condition = BY_NAME[name]
        with self._lock:
            was_met = self._said.pop(name, None) is not None
            unsaid = self._unsaid.pop(name, 0)
            self._pauses.pop(name, None)
        if unsaid:
            self._say_met(condition, unsaid)
        if was_met:
            self.say(f"recovered: {name}: {detail}")

    def count(self, name: str, number: int = 1) -> None:
        """Add to a counter.

        Raises:
            KeyError: there is no such counter.
        """
        self._counters.add(name, number)

    def state(self, **state: str | float) -> None:
        """Say of this process what is so from now on, for instance the serial in use."""
        self._keep_in_folder()
        with self._lock:
            self._state.update(state)
            said = dict(self._state)
        self._counters.say(said)

    def say(self, text: str) -> None:
        """Write a line that is no condition, for instance which rules are in use."""
        # The log may lie on the disk that is full.
        with contextlib.suppress(OSError, ValueError):
            self._log(text)

    def end(self) -> None:
        """This process ends as it should. It may still count until it is gone."""
        self._has_ended = True
        for name in self._waiting():
            # What lasts was said when it began.
            if not BY_NAME[name].lasts:
                self._say_met(BY_NAME[name], self._unsaid.pop(name))
        self._counters.set(ENDED, 1)
        self._counters.let_go()

    def _waiting(self) -> list[str]:
        """What was met and not said yet. Other threads add to it meanwhile."""
        with self._lock:
            return [name for name, unsaid in self._unsaid.items() if unsaid]

    def _keep_in_folder(self) -> None:
        """See that others can read the numbers: make the file, or make it again."""
        folder, now = self._folder, time.monotonic()
        if folder is None or self._has_ended or self._counters.is_in(folder):
            return
        if self._is_unkept and now < self._try_folder_at:
            return
        try:
            # Squid's user, whose the folder above is, may put a link in its place.
            with as_owner(folder):
                _make_folder(folder)
            self._counters.move_to(folder)
        except (OwnerError, OSError) as error:
            self._try_folder_at = now + _FOLDER_AGAIN_SECONDS
            if not self._is_unkept:
                self._say_unkept(folder, error)
            self._is_unkept = True
            return
        if self._was_kept:
            self.met("counters-moved", f"{folder}: removed or cut off while in use: made again")
        elif self._is_unkept:
            self.say(f"recovered: counters are kept in {folder}")
        self._was_kept, self._is_unkept = True, False

    def _say_unkept(self, folder: Path, error: OwnerError | OSError) -> None:
        why = error.strerror if isinstance(error, OSError) else error
        self.say(
            f"warning: no counters in {folder} ({why}): inkgate status does not "
            "see this process; let the folder belong to the user that it runs as"
        )

    def _say_met(self, condition: Condition, unsaid: int) -> None:
        more = f" ({unsaid} times since the last such line)" if unsaid > 1 else ""
        text = self._details.get(condition.name) or condition.meaning
        self.say(f"{condition.severity}: {condition.name}: {text}{more}")

    def _not_said_for(
        self, condition: Condition, count: int, *, at_once: bool = False
    ) -> int | None:
        """How many were not said since the last line; None if now is not the time either."""
        name, now = condition.name, time.monotonic()
        with self._lock:
            unsaid = self._unsaid.get(name, 0) + count
            is_soon = name in self._said and now - self._said[name] < self._pauses[name]
            if is_soon and not at_once:
                self._unsaid[name] = unsaid
                return None
            pause = SAY_AGAIN_SECONDS
            if condition.lasts and name in self._pauses:
                pause = min(2 * self._pauses[name], MOST_SECONDS)
            self._pauses[name] = pause
            self._said[name] = now
            self._unsaid[name] = 0
        return unsaid

    def _inherit(self, dead: ProcessCounters) -> None:
        for name, number in dead.numbers.items():
            if name != ENDED and not name.endswith(".now"):
                self._counters.inherit(name, number)
        if dead.has_died:
            before = self._counters.value("process-died.last")
            self.met("process-died", f"{dead.header.program}[{dead.header.pid}] ended as it served")
            self._counters.set("process-died.last", max(before, int(dead.last_seen)))


def unwatched(log: Log) -> Monitor:
    """A monitor for a process that runs once and that nobody watches."""
    return Monitor(None, "inkgate", log)


def _make_folder(folder: Path) -> None:
    """Make the folder in one that is there."""
    if not folder.parent.is_dir():
        raise OSError(errno.ENOENT, f"{folder.parent} is not there")
    make_folder(folder, _FOLDER_MODE)
