"""The sections that a helper reads at its start, and whether they are others by now."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from inkgate.config.settings_file import SettingsError, load_section
from inkgate.health.settings import HealthSettings
from inkgate.helper.settings import HelperSettings
from inkgate.sightings.settings import SightingsSettings

_SECTIONS: Final = (
    ("helper", HelperSettings),
    ("health", HealthSettings),
    ("sightings", SightingsSettings),
)


class OwnSettings:
    """What the sections say now.

    Args:
        config: the settings file.
    """

    def __init__(self, config: Path) -> None:
        self._config = config
        self._version = self._now()
        self._sections = self._read()

    def are_others(self) -> bool:
        """Whether all sections can be used and one of them is not what it was at first.

        Sections that cannot be used are none that could be taken.
        """
        version = self._now()
        if version == self._version:
            return False
        self._version = version
        sections = self._read()
        return None not in sections and sections != self._sections

    def _read(self) -> list[object]:
        return [self._section(name, kind) for name, kind in _SECTIONS]

    def _section(self, name: str, kind: type[object]) -> object:
        try:
            return load_section(self._config, name, kind, alone=True)
        except SettingsError:
            # Said where the section is used.
            return None

    def _now(self) -> tuple[int, ...]:
        try:
            found = self._config.stat()
        except OSError:
            return ()
        # The time of the last change, too: a file may be made readable.
        return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
