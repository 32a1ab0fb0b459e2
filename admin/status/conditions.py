"""Row `by-fail`: what `fail` answered; then a row for each condition that was ever met."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from inkgate.admin.status.row import Level, Machine, Row, age
from inkgate.health.conditions import CONDITIONS, Condition
from inkgate.health.monitor import BY_FAIL, MOST_WHY, REQUESTS, WHY
from inkgate.health.reading import merge

# Twice the time between two looks of a monitoring system: none misses an event.
RECENT_SECONDS: Final = 600
_LEVELS: Final = {"notice": Level.OK, "warning": Level.WARNING, "critical": Level.CRITICAL}


def rows(machine: Machine) -> Iterable[Row]:
    """See the module."""
    numbers: dict[str, int] = {}
    for process in machine.processes:
        merge(numbers, process.numbers)
    requests, by_fail = numbers.get(REQUESTS, 0), numbers.get(BY_FAIL, 0)
    yield Row(
        "by-fail",
        Level.OK,
        f"{by_fail:,} of {requests:,} requests were answered by `fail` since counting began",
        data={"requests": requests, "by_fail": by_fail},
    )
    for condition in CONDITIONS:
        row = _row(condition, numbers, machine)
        if row is not None:
            yield row


def _row(condition: Condition, numbers: dict[str, int], machine: Machine) -> Row | None:
    name = condition.name
    count, last = numbers.get(name, 0), numbers.get(f"{name}.last", 0)
    died = [p for p in machine.processes if p.has_died] if name == "process-died" else []
    if died:
        # Nobody has counted them yet.
        count += len(died)
        last = max(last, int(max(p.last_seen for p in died)))
    lasts = sum(p.numbers.get(f"{name}.now", 0) for p in machine.processes if p.is_alive)
    if not (count or lasts):
        return None
    since = machine.now - last
    # What a clock dated that was ahead is not recent until then.
    is_there = bool(lasts) or (not condition.lasts and abs(since) < RECENT_SECONDS)
    when = "now" if lasts else f"last {age(since)} ago"
    return Row(
        name,
        _LEVELS[condition.severity] if is_there else Level.OK,
        f"{condition.meaning}{_why(name, machine)} ({count:,} times, {when})",
        condition.remedy,
        {"count": count, "last": last, "now": bool(lasts)},
    )


def _why(name: str, machine: Machine) -> str:
    """What a process that lives says of a condition that lasts."""
    for process in machine.processes:
        why = process.state.get(f"{name}{WHY}")
        if why and process.is_alive and process.numbers.get(f"{name}.now"):
            return f": {str(why)[:MOST_WHY]}"
    return ""
