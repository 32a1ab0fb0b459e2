"""Row `canary`: whether the last check through the proxy saw what is listed refused."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from inkgate.admin.status.row import Level, Machine, Row, age
from inkgate.config.errors import Unreadable
from inkgate.config.settings_file import SettingsError
from inkgate.squid_conf.check_result import (
    EVERY_SECONDS,
    CheckResult,
    check_result_file,
    read_check_result,
)

# Two checks that were missed are chance; then the timer does not run.
STALE_SECONDS: Final = 3 * EVERY_SECONDS
_LEVELS: Final = {"ok": Level.OK, "warning": Level.WARNING, "critical": Level.CRITICAL}
_CHECK: Final = "run inkgate squid check"


def rows(machine: Machine) -> Iterable[Row]:
    """See the module."""
    try:
        result = read_check_result(check_result_file(machine.config))
    except (SettingsError, Unreadable) as error:
        yield Row("canary", Level.UNKNOWN, str(error), _CHECK)
        return
    if result is None:
        text = "nobody has checked yet, through the proxy, that it blocks"
        yield Row("canary", Level.UNKNOWN, text, _CHECK)
        return
    yield _checked(result, machine.now - result.checked)


def _checked(result: CheckResult, old: float) -> Row:
    level = _LEVELS[result.level]
    text = "; ".join(result.findings) or "all that is listed was refused through the proxy"
    remedy = "inkgate squid check says it line by line" if result.findings else ""
    if abs(old) > STALE_SECONDS:
        level = max(level, Level.WARNING)
        when = f"{age(old)} ago" if old > 0 else f"{age(-old)} ahead of this clock"
        text = f"last checked {when}: {text}"
        remedy = f"{_CHECK}, and see that its timer runs"
    else:
        text = f"{text} ({age(old)} ago)"
    return Row(
        "canary",
        level,
        text,
        remedy,
        {"checked": round(result.checked), "findings": len(result.findings)},
    )
