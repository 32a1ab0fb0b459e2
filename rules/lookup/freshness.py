"""How old the rule set in use is, and whether it may still be used."""

from __future__ import annotations

from typing import Final

from inkgate.health.clock import Clock
from inkgate.health.monitor import Monitor
from inkgate.rules.pack.manifest import Manifest
from inkgate.rules.settings import RulesSettings

_DAY: Final = 86_400


class Freshness:
    """Tells what is too old, by a clock that is not believed when it jumps.

    Args:
        clock: the time.
        monitor: told when a set becomes old, when it expires, and when that is over.
    """

    def __init__(self, clock: Clock, monitor: Monitor) -> None:
        self._clock = clock
        self._monitor = monitor

    def may_be_used(self, manifest: Manifest, settings: RulesSettings) -> bool:
        """Whether a set may be used now: always, unless it is past its expiry and the
        settings say that `fail` answers from then on.
        """
        now = self._clock.now()
        self._clock.keep()
        self._say_jump()
        age = (now - manifest.created.timestamp()) / _DAY
        limit = settings.warn_age_days
        self._tell(
            "rules-old",
            is_so=0 < limit < age,
            detail=f"serial {manifest.serial} is {age:.0f} days old (warn_age_days {limit})",
            recovered=f"serial {manifest.serial} is not older than warn_age_days",
        )
        self._tell(
            "rules-from-the-future",
            is_so=age < -1,
            detail=f"serial {manifest.serial} is dated {-age:.0f} days ahead",
            recovered=f"serial {manifest.serial} is not dated ahead",
        )
        expired = now >= manifest.expires.timestamp()
        becomes = "fail answers" if settings.after_expiry == "fail" else "it stays in use"
        self._tell(
            "rules-expired",
            is_so=expired,
            detail=f"serial {manifest.serial} expired {manifest.expires.isoformat()}: {becomes}",
            recovered=f"serial {manifest.serial} expires {manifest.expires.isoformat()}",
        )
        return not (expired and settings.after_expiry == "fail")

    def _say_jump(self) -> None:
        days = self._clock.jump / _DAY
        self._tell(
            "clock-jumped",
            is_so=bool(days),
            detail=f"the clock was set by {days:+.1f} days: ages go by the time since the start",
            recovered="the clock fits the time since the start",
        )

    def _tell(self, condition: str, *, is_so: bool, detail: str, recovered: str) -> None:
        if is_so:
            self._monitor.met(condition, detail)
        else:
            self._monitor.over(condition, recovered)
