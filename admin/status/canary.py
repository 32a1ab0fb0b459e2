"""Row `canary`: whether the last check through the proxy saw what is listed refused."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from inkgate.admin.status.row import SEE_SETTINGS, Level, Machine, Row, age
from inkgate.config.errors import InkgateError
from inkgate.rules.lookup.canary_rules import installed_canaries
from inkgate.squid_conf.check_result import (
    EVERY_SECONDS,
    CheckResult,
    check_result_file,
    read_check_result,
)

# Two checks that were missed are chance; then the timer does not run.
STALE_SECONDS: Final = 3 * EVERY_SECONDS
# About a line of a terminal, beside the row's name.
_MOST_CHARACTERS: Final = 100
_LEVELS: Final = {"ok": Level.OK, "warning": Level.WARNING, "critical": Level.CRITICAL}
_CHECK: Final = "run inkgate squid check"
_NONE: Final = (
    "the installed rule set lists no canaries (its publisher's inkgate is older), so a check "
    "cannot ask for them"
)


def rows(machine: Machine) -> Iterable[Row]:
    """See the module."""
    try:
        result = read_check_result(check_result_file(machine.config))
    except InkgateError as error:
        yield machine.unanswered("canary", error, _CHECK)
        return
    level, said, remedy = _checked(result, machine.now)
    held, problem = _held(machine)
    if problem:
        # What is known to be bad weighs more than what is not known.
        level = level or Level.UNKNOWN
        said = f"{said}; whether the rule set lists canaries cannot be found out: {problem}"
    elif not held:
        # Said, but no fault of this machine: the set blocks all that it lists.
        said = f"{said}; {_NONE}"
    yield Row(
        "canary",
        level,
        said,
        remedy,
        {
            "checked": round(result.checked) if result else None,
            "findings": len(result.findings) if result else None,
            "listed": None if problem else held,
        },
        result.findings if result else (),
    )


def _checked(result: CheckResult | None, now: float) -> tuple[Level, str, str]:
    if result is None:
        text = "nobody has checked yet, through the proxy, that it blocks"
        return Level.UNKNOWN, text, _CHECK
    level, old = _LEVELS[result.level], now - result.checked
    text = _shortly(result.findings) or "all that is listed was refused through the proxy"
    if abs(old) > STALE_SECONDS:
        when = f"{age(old)} ago" if old > 0 else f"{age(-old)} ahead of this clock"
        remedy = f"{_CHECK}, and see that its timer runs"
        return max(level, Level.WARNING), f"last checked {when}: {text}", remedy
    remedy = "inkgate status -v tells all of it" if result.findings else ""
    return level, f"{text} ({age(old)} ago)", remedy


def _shortly(findings: Sequence[str]) -> str:
    """The worst finding, cut, and how many there are besides: a row is one line."""
    if not findings:
        return ""
    first = findings[0]
    cut = first if len(first) <= _MOST_CHARACTERS else f"{first[:_MOST_CHARACTERS]} …"
    return f"{cut} (and {len(findings) - 1} more)" if len(findings) > 1 else cut


def _held(machine: Machine) -> tuple[bool, str]:
    """Whether the installed set lists canaries, or why that cannot be found out."""
    try:
        return installed_canaries(machine.config).any, ""
    except (InkgateError, OSError) as error:
        return False, SEE_SETTINGS if str(error) in machine.faults else str(error)
