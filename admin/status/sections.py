"""Row `settings`: what is wrong in inkgate.toml, also where only the next start will meet it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from inkgate.admin.status.row import Level, Machine, Row
from inkgate.blocked_page.settings import SquidSettings
from inkgate.config.settings_file import (
    SettingsError,
    UnknownSectionError,
    check_sections,
    load_section,
)
from inkgate.helper.settings import HelperSettings
from inkgate.icap_server.settings import IcapSettings

# The other sections have rows of their own that read them.
_SECTIONS: Final[dict[str, type]] = {
    "helper": HelperSettings,
    "icap": IcapSettings,
    "squid_conf": SquidSettings,
}


def rows(machine: Machine) -> Iterable[Row]:
    """See the module."""
    try:
        check_sections(machine.config)
        for name, kind in _SECTIONS.items():
            # Who runs has read it before the mistake; who starts now takes defaults for it.
            load_section(machine.config, name, kind)
    except UnknownSectionError as error:
        # The proxy goes on with the other sections, but no refresh does.
        yield Row("settings", Level.WARNING, str(error), "correct the name of that section")
    except SettingsError as error:
        yield Row("settings", Level.CRITICAL, str(error), "correct the settings file")
    else:
        yield Row("settings", Level.OK, f"{machine.config} can be read")
