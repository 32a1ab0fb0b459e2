"""Row `refresh`: when rules were last refreshed or installed here, and how that ended."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from inkgate.admin.status.row import Level, Machine, Row, age
from inkgate.config.errors import InkgateError
from inkgate.config.locks import is_locked
from inkgate.config.settings_file import load_section
from inkgate.rules.install.outcome import Outcome, read_outcome
from inkgate.rules.paths import LOCK, RulesPaths, rules_paths
from inkgate.rules.settings import RulesSettings

_DAY: Final = 86_400
_BY_HAND: Final = (
    "run inkgate-rules refresh (or install, with a pack) by hand, and see what it says"
)
_TIMER: Final = "see that the timer of inkgate-rules refresh (or install) runs"


def rows(machine: Machine) -> Iterable[Row]:
    """See the module."""
    try:
        settings = load_section(machine.config, "rules", RulesSettings, alone=True)
        paths = rules_paths(machine.config, settings)
        outcome = read_outcome(paths.installed)
    except (InkgateError, OSError) as error:
        yield Row("refresh", Level.UNKNOWN, f"cannot be told: {error}", _BY_HAND)
        return
    if outcome is None:
        yield Row("refresh", Level.WARNING, "none is on record here", _BY_HAND)
        return
    level, text, remedy = _judged(outcome, paths, machine.now, settings.warn_age_days * _DAY)
    yield Row(
        "refresh",
        level,
        f"{outcome.action} {text}",
        remedy,
        {
            "action": outcome.action,
            "state": outcome.state,
            "started": outcome.started,
            "ended": outcome.ended,
            "last_good": outcome.last_good,
            "runs": outcome.runs,
            "failures": outcome.failures,
            "failures_in_a_row": outcome.failures_in_a_row,
        },
    )


def _judged(
    outcome: Outcome, paths: RulesPaths, now: float, limit: float
) -> tuple[Level, str, str]:
    """Level, text and remedy."""
    ago = f"{age(now - (outcome.ended or outcome.started))} ago"
    if outcome.state == "running":
        began = f"{age(now - outcome.started)} ago"
        if any(is_locked(folder / LOCK) for folder in (paths.publisher, paths.installed)):
            return Level.OK, f"is running since {began}", ""
        return Level.CRITICAL, f"began {began} and was killed before its end", _BY_HAND
    if outcome.state == "failed":
        times = f", {outcome.failures_in_a_row} times in a row" * (outcome.failures_in_a_row > 1)
        return Level.CRITICAL, f"failed {ago}{times}: {outcome.text}", _BY_HAND
    if 0 < limit < now - outcome.ended:
        return Level.WARNING, f"ended well, but {ago}: none came since", _TIMER
    if outcome.state == "partial":
        return Level.WARNING, f"ended {ago}, with last good readings: {outcome.text}", _BY_HAND
    return Level.OK, f"ended well {ago}, serial {outcome.serial}", ""
