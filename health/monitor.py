"""What a process tells of its own health: conditions that it meets, and that they are over."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from inkgate.config.printable import Log
from inkgate.health.conditions import BY_NAME, NAMES
from inkgate.health.counters import Counters
from inkgate.health.reading import fold_dead

# How often a condition that goes on is said again in the log.
SAY_AGAIN_SECONDS: Final = 60.0


class Monitor:
    """Counts and dates what goes wrong in this process.

    A folder that cannot be used is said once; then the numbers are this process's alone.

    Args:
        folder: of the counters; None for a process that nobody watches.
        program: the command.
        counters: numbers besides those of the conditions.
        log: takes one line without secrets.
    """

    def __init__(
        self, folder: Path | None, program: str, counters: Sequence[str], log: Log
    ) -> None:
        self._log = log
        self._lock = threading.Lock()
        self._said: dict[str, float] = {}
        self._unsaid: dict[str, int] = {}
        names = (*counters, *(n for name in NAMES for n in (name, f"{name}.last")))
        try:
            self.counters = Counters(folder, program, names)
            if folder is not None:
                fold_dead(folder, program, self._inherit)
        except OSError as error:
            log(
                f"no counters in {folder} ({error.strerror}): inkgate status does not see "
                "this process"
            )
            self.counters = Counters(None, program, names)

    def met(self, name: str, detail: str = "", count: int = 1) -> None:
        """A condition is met: count it, date it and say it, though not every time.

        Args:
            name: from the table of conditions.
            detail: what exactly, without secrets.
            count: how many requests (or incidents, or rules) it concerns.

        Raises:
            KeyError: the table has no such condition.
        """
        condition = BY_NAME[name]
        self.counters.add(name, count)
        self.counters.set(f"{name}.last", int(time.time()))
        if (silent := self._silent(name, count)) is not None:
            more = f" ({silent} times since the last such line)" if silent > 1 else ""
            text = f"{condition.severity}: {name}: {detail or condition.meaning}{more}"
            # The log may lie on the disk that is full.
            with contextlib.suppress(OSError, ValueError):
                self._log(text)

    def over(self, name: str, detail: str) -> None:
        """A condition is over: say so, if it was said that it was there."""
        with self._lock:
            was_said = self._said.pop(name, None) is not None
            self._unsaid.pop(name, None)
        if was_said:
            self.say(f"recovered: {name}: {detail}")

    def say(self, text: str) -> None:
        """Write a line that is no condition, for instance which rules are in use."""
        with contextlib.suppress(OSError, ValueError):
            self._log(text)

    def _silent(self, name: str, count: int) -> int | None:
        """How many were not said since the last line; None if now is not the time either."""
        now = time.monotonic()
        with self._lock:
            unsaid = self._unsaid.get(name, 0) + count
            if now - self._said.get(name, -SAY_AGAIN_SECONDS) < SAY_AGAIN_SECONDS:
                self._unsaid[name] = unsaid
                return None
            self._said[name] = now
            self._unsaid[name] = 0
        return unsaid

    def _inherit(self, numbers: dict[str, int]) -> None:
        for name, number in numbers.items():
            with contextlib.suppress(KeyError):
                index = self.counters.number(name)
                old = self.counters.numbers[index]
                self.counters.numbers[index] = (
                    max(old, number) if name.endswith(".last") else old + number
                )
