"""Row `refresh`: when rules were last refreshed or installed here, and how that ended."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from inkgate.admin.status.row import Level, Machine, Row, age
from inkgate.config.errors import InkgateError
from inkgate.config.locks import is_locked
from inkgate.config.settings_file import load_section
from inkgate.rules.install.outcome import Action, Outcome, read_outcome
from inkgate.rules.paths import LOCK, RulesPaths, rules_paths
from inkgate.rules.settings import RulesSettings

_DAY: Final = 86_400
BY_HAND: Final[dict[Action, str]] = {
    "refresh": "run inkgate-rules refresh by hand, and see what it says",
    "install": "run inkgate-rules install with the newest pack by hand, and see what it says",
}
_TIMER: Final[dict[Action, str]] = {
    "refresh": "see that the timer of inkgate-rules refresh runs",
    "install": "see that packs still come, and that what installs them runs",
}


def rows(machine: Machine) -> Iterable[Row]:
    """See the module."""
    try:
        settings = load_section(machine.config, "rules", RulesSettings, alone=True)
        paths = rules_paths(machine.config, settings)
        outcome = read_outcome(paths.installed)
    except (InkgateError, OSError) as error:
        yield machine.unanswered("refresh", error, "run it as root")
        return
    if outcome is None:
        remedy = BY_HAND[renewing(settings)]
        yield Row("refresh", Level.WARNING, "none is on record here", remedy)
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


def renewing(settings: RulesSettings) -> Action:
    """The command that brings new rules: a machine without sources gets packs."""
    return "refresh" if settings.sources else "install"


def _judged(
    outcome: Outcome, paths: RulesPaths, now: float, limit: float
) -> tuple[Level, str, str]:
    """Level, text and remedy."""
    by_hand = BY_HAND[outcome.action]
    ago = f"{age(now - (outcome.ended or outcome.started))} ago"
    if outcome.state == "running":
        began = f"{age(now - outcome.started)} ago"
        if any(is_locked(folder / LOCK) for folder in (paths.publisher, paths.installed)):
            return Level.OK, f"is running since {began}", ""
        return (
            Level.CRITICAL,
            f"began {began} and was killed before its end",
            BY_HAND[outcome.action],
        )
    if outcome.state == "failed":
        times = f", {outcome.failures_in_a_row} times in a row" * (outcome.failures_in_a_row > 1)
        return Level.CRITICAL, f"failed {ago}{times}: {outcome.text}", by_hand
    if 0 < limit < now - outcome.ended:
        return Level.WARNING, f"ended well, but {ago}: none came since", _TIMER[outcome.action]
    if outcome.state == "partial":
        without = "without some sources; their last good readings count, if there are any"
        return Level.WARNING, f"ended {ago}, {without}: {outcome.text}", by_hand
    return Level.OK, f"ended well {ago}, serial {outcome.serial}", ""
