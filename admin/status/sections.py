"""Row `settings`: sections of inkgate.toml that nobody knows, for which commands refuse it."""

from __future__ import annotations

from collections.abc import Iterable

from inkgate.admin.status.row import Level, Machine, Row
from inkgate.config.settings_file import SettingsError, UnknownSectionError, check_sections


def rows(machine: Machine) -> Iterable[Row]:
    """See the module."""
    try:
        check_sections(machine.config)
    except UnknownSectionError as error:
        # The proxy goes on with the other sections, but no refresh does.
        yield Row("settings", Level.WARNING, str(error), "correct the name of that section")
    except SettingsError as error:
        yield Row("settings", Level.CRITICAL, str(error), "correct the settings file")
    else:
        yield Row("settings", Level.OK, f"{machine.config} can be read")
