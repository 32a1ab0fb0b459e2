"""Row `settings`: what is wrong in inkgate.toml, also where only the next start will meet it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Final

from inkgate.admin.status.row import Level, Machine, Row
from inkgate.blocked_page.settings import SquidSettings
from inkgate.config.printable import printable
from inkgate.config.settings_file import (
    SettingsError,
    UnknownSectionError,
    check_sections,
    load_section,
    resolve,
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
        *(partial(check, config) for check in (_check_sources, _check_allow, _check_warninglists)),
    ]
    for check in checks:
        try:
            check()
        except SettingsError as error:
            yield error


def _check_journal(config: Path) -> None:
    own_file(config, load_section(config, "sightings", SightingsSettings, alone=True))


def _publishers(config: Path) -> RulesSettings | None:
    """Section `[rules]`, if somebody refreshes by it here: a proxy without sources does not."""
    try:
        settings = load_section(config, "rules", RulesSettings, alone=True)
    except SettingsError:
        # Said by the check of the section.
        return None
    return settings if settings.sources else None


def _check_sources(config: Path) -> None:
    settings = _publishers(config)
    if settings and not all(isinstance(source, str) for source in settings.sources):
        # Imported here: sources that are paths need it not.
        from inkgate.rules.sources.registry import read_entries  # noqa: PLC0415

        read_entries(config, settings.sources)


def _check_allow(config: Path) -> None:
    settings = _publishers(config)
    for name in settings.allow if settings else ():
        if not resolve(config, name).exists():
            problem = f"[rules] allow: {name} is not there, and each refresh fails"
            raise SettingsError(config, problem, "correct the path, or make the file")


def _check_warninglists(config: Path) -> None:
    settings = _publishers(config)
    named = settings.warninglists.keys() - {"default"} if settings else ()
    if not settings or not named:
        return
    # Imported here: few name a list.
    from inkgate.rules.select.warninglists import packaged_lists  # noqa: PLC0415

    own = settings.warninglists_folder
    folder = resolve(config, own) if own else packaged_lists()
    for name in sorted(named):
        if folder is not None and not (folder / name).is_dir():
            problem = f"[rules] warninglists: there is no list {printable(name)} in {folder}"
            raise SettingsError(config, problem, "name a folder that is there, or remove the key")
