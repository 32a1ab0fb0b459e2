"""For who tries inkgate out: when rules that were just made work."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from inkgate.config.errors import InkgateError
from inkgate.health.reading import read_all
from inkgate.rules.install.serials import current_folder
from inkgate.rules.pack.files import MANIFEST, read_small
from inkgate.rules.pack.manifest import parse_manifest
from inkgate.rules.settings import RulesSettings

_HELPER: Final = "inkgate-helper"
# Squid counts the age of an answer in whole seconds of its clock, and repeats the answer until
# that age is more than the ttl.
_SQUID_TICK_SECONDS: Final = 1


class NewRules:
    """Notices a new rule set, and when all helpers use it and Squid asks them again.

    No indicator is told: the terminal may be seen by others, and only counts are known here.

    Args:
        installed: where the generations lie.
        counters: where helpers say which rule set they use.
        settings: section `[rules]`.
        negative_ttl: seconds for which Squid repeats "not listed" without asking.
        say: takes one line.
        now: a clock, in seconds.
    """

    def __init__(
        self,
        installed: Path,
        counters: Path,
        settings: RulesSettings,
        negative_ttl: float,
        say: Callable[[str], None],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._installed = installed
        self._counters = counters
        self._caps = settings.caps
        self._negative_ttl = negative_ttl
        self._say = say
        self._now = now
        self._folder = current_folder(installed)
        self._rules = (self._read(self._folder) or (0, 0))[1]
        self._works_at: float | None = None

    def look(self) -> None:
        """See what there is, and say it once. Call it every second or so."""
        folder = current_folder(self._installed)
        found = self._read(folder) if folder != self._folder else None
        if folder is None or found is None or not self._is_used_everywhere(found[0]):
            return
        if self._works_at is None:
            self._works_at = self._now() + self._negative_ttl + _SQUID_TICK_SECONDS
        if self._now() < self._works_at:
            return
        serial, rules = found
        more = rules - self._rules
        change = f"{more} more than before" if more >= 0 else f"{-more} fewer than before"
        self._say(f"The new rules work now: {rules}, {change} (serial {serial}).")
        self._folder, self._rules = folder, rules
        self._works_at = None

    def _read(self, folder: Path | None) -> tuple[int, int] | None:
        """Serial and number of rules of a generation."""
        try:
            manifest = parse_manifest(read_small(folder / MANIFEST), self._caps) if folder else None
        except InkgateError:
            # Another refresh may just have removed it.
            return None
        return (manifest.serial, manifest.rule_count()) if manifest else None

    def _is_used_everywhere(self, serial: int) -> bool:
        # Where no helper runs yet, the first request starts one, which uses what is there.
        try:
            processes = read_all(self._counters)
        except OSError:
            return True
        alive = [p for p in processes if p.is_alive and p.header.program == _HELPER]
        return all(process.state.get("serial") == serial for process in alive)
