"""The sections that a helper reads at its start, and whether they are others by now."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from inkgate.config.settings_file import SettingsError, load_section
from inkgate.health.monitor import Monitor
from inkgate.health.settings import HealthSettings
from inkgate.helper.settings import HelperSettings
from inkgate.rules.settings import RulesSettings
from inkgate.sightings.settings import SightingsSettings

_SECTIONS: Final = (
    ("helper", HelperSettings),
    ("health", HealthSettings),
    ("sightings", SightingsSettings),
)
Sections = list[object] | None
"""What each of them says; None while the file cannot be used."""


class OwnSettings:
    """What the sections say now.

    Args:
        config: the settings file.
        monitor: told of changes that cannot be taken.
    """

    def __init__(self, config: Path, monitor: Monitor) -> None:
        self._config = config
        self._monitor = monitor
        self._version = self._now()
        try:
            self._sections: Sections = self._read()
        except SettingsError:
            # Said where the section is used.
            self._sections = None

    def are_others(self) -> bool:
        """Whether the file can be used and one of the sections is not what it was at first.

        What cannot be used is not taken, nor what stands beside it: a section may have lost
        its name, or its lines.
        """
        version = self._now()
        if version == self._version:
            return False
        self._version = version
        try:
            sections = self._read()
        except SettingsError as error:
            self._monitor.met("settings-not-taken", f"{error}; the old settings stay in use")
            return False
        self._monitor.over("settings-not-taken", "the settings can be used")
        return sections != self._sections

    def _read(self) -> list[object]:
        # The rules are taken by themselves, without a new beginning.
        load_section(self._config, "rules", RulesSettings)
        return [load_section(self._config, name, kind) for name, kind in _SECTIONS]

    def _now(self) -> tuple[int, ...]:
        try:
            found = self._config.stat()
        except OSError:
            return ()
        # The time of the last change, too: a file may be made readable.
        return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
