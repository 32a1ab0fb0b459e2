"""A row of `inkgate status`."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from inkgate.config.settings_file import SettingsError
from inkgate.health.reading import ProcessCounters

SEE_SETTINGS: Final = "see row `settings`"


class Level(enum.IntEnum):
    """How bad it is: the exit statuses of monitoring plug-ins."""

    OK = 0
    WARNING = 1
    CRITICAL = 2
    UNKNOWN = 3


class Row(msgspec.Struct, frozen=True):
    """One answer.

    Attributes:
        name: what it is about; the same in every version.
        level: how bad it is.
        text: for people, one line.
        remedy: what to do, if something is to be done.
        data: for programs.
        details: what `text` leaves out, one line each: shown on request only.
    """

    name: str
    level: Level
    text: str
    remedy: str = ""
    data: dict[str, str | int | float | bool | None] = {}
    details: tuple[str, ...] = ()


class Machine(NamedTuple):
    """What the rows are answered from.

    Attributes:
        config: the settings file.
        processes: the counters of all processes.
        now: seconds since 1970.
        faults: what is wrong in the settings file, as row `settings` says it.
        is_uncounted: whether `processes` is empty because the counters cannot be read.
    """

    config: Path
    processes: list[ProcessCounters]
    now: float
    faults: frozenset[str] = frozenset()
    is_uncounted: bool = False

    def unanswered(
        self, name: str, error: Exception, remedy: str, level: Level = Level.UNKNOWN
    ) -> Row:
        """The row of a question that an error leaves without an answer.

        What row `settings` says already is not said again.

        Args:
            name: of the row.
            error: why it cannot be answered.
            remedy: for what is no matter of the settings.
            level: how bad that is.
        """
        remedy = error.remedy if isinstance(error, SettingsError) else remedy
        text = f"cannot be told: {error}"
        if str(error) in self.faults:
            text, remedy = f"cannot be told: {SEE_SETTINGS}", ""
        return Row(name, level, text, remedy)


Rows = Callable[[Machine], Iterable[Row]]
"""Answers one question, in one row or several."""


def worst(rows: Iterable[Row]) -> Level:
    """The level of all rows together: what is unknown weighs less than what is bad."""
    levels = {row.level for row in rows}
    order = (Level.CRITICAL, Level.WARNING, Level.UNKNOWN)
    return next((level for level in order if level in levels), Level.OK)


def age(seconds: float) -> str:
    """A time span in words, for instance `3 days`."""
    for unit, length in (("day", 86_400), ("hour", 3600), ("minute", 60)):
        if seconds >= length:
            count = int(seconds // length)
            return f"{count} {unit}{'s' if count > 1 else ''}"
    return f"{max(0, int(seconds))} s"
