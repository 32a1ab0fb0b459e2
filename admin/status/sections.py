"""Row `settings`: what is wrong in inkgate.toml, also where only the next start will meet it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Final

from inkgate.admin.status.row import Level, Machine, Row
from inkgate.blocked_page.settings import SquidSettings
from inkgate.config.settings_file import (
    SettingsError,
    UnknownSectionError,
    check_sections,
    load_section,
)
from inkgate.health.settings import HealthSettings
from inkgate.helper.settings import HelperSettings
from inkgate.icap_server.settings import IcapSettings
from inkgate.rules.settings import RulesSettings
from inkgate.sightings.journal.backends.registry import own_file
from inkgate.sightings.settings import SightingsSettings

# Who runs has read a section before the mistake; who starts now takes defaults for it.
SECTIONS: Final[dict[str, type]] = {
    "rules": RulesSettings,
    "helper": HelperSettings,
    "icap": IcapSettings,
    "squid_conf": SquidSettings,
    "sightings": SightingsSettings,
    "health": HealthSettings,
}
"""The structures of all sections that a proxy reads."""


def faults(config: Path) -> list[SettingsError]:
    """All that is wrong in the settings file, each fault once."""
    found = {str(error): error for error in _faults(config)}
    return list(found.values())


def rows(machine: Machine) -> Iterable[Row]:
    """See the module."""
    found = faults(machine.config)
    if not found:
        yield Row("settings", Level.OK, f"{machine.config} can be read")
        return
    # With a section that nobody knows the proxy goes on with the others, but no refresh does.
    is_used = all(isinstance(error, UnknownSectionError) for error in found)
    yield Row(
        "settings",
        Level.WARNING if is_used else Level.CRITICAL,
        f"{machine.config}: {'; '.join(error.problem for error in found)}",
        "; ".join(dict.fromkeys(error.remedy for error in found)),
        {"faults": len(found)},
    )


def _faults(config: Path) -> Iterator[SettingsError]:
    checks: list[Callable[[], object]] = [
        partial(check_sections, config),
        *(partial(load_section, config, *section, alone=True) for section in SECTIONS.items()),
        partial(_check_journal, config),
    ]
    for check in checks:
        try:
            check()
        except SettingsError as error:
            yield error


def _check_journal(config: Path) -> None:
    own_file(config, load_section(config, "sightings", SightingsSettings, alone=True))
