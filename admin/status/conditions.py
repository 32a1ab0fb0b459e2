"""Rows of conditions that were met lately, and row `by-fail`: what `fail` answered."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from inkgate.admin.status.row import Level, Machine, Row, age
from inkgate.health.conditions import CONDITIONS
from inkgate.health.reading import merge

RECENT_SECONDS: Final = 3600
_LEVELS: Final = {"warning": Level.WARNING, "critical": Level.CRITICAL}


def rows(machine: Machine) -> Iterable[Row]:
    """See the module."""
    numbers: dict[str, int] = {}
    for process in machine.processes:
        merge(numbers, process.numbers)
    requests, by_fail = numbers.get("requests", 0), numbers.get("by-fail", 0)
    yield Row(
        "by-fail",
        Level.OK,
        f"{by_fail} of {requests} requests were answered by `fail` since the counters began",
        data={"requests": requests, "by_fail": by_fail},
    )
    for condition in CONDITIONS:
        count = numbers.get(condition.name, 0)
        last = numbers.get(f"{condition.name}.last", 0)
        since = machine.now - last
        if count and since < RECENT_SECONDS:
            yield Row(
                condition.name,
                _LEVELS[condition.severity],
                f"{condition.meaning} ({count} times, last {age(since)} ago)",
                condition.remedy,
                {"count": count, "last": last},
            )
