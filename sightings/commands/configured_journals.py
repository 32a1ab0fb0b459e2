"""What the commands of `inkgate-sightings` share."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import closing
from functools import cached_property
from pathlib import Path

import click

from inkgate.config.owner import become_owner
from inkgate.config.settings_file import load_section
from inkgate.sightings.commands.formatting import cell
from inkgate.sightings.journal.backends.registry import own_file, reported_file
from inkgate.sightings.journal.journal import Journal
from inkgate.sightings.journal.sighting import Sighting
from inkgate.sightings.settings import SightingsSettings


class ConfiguredJournals:
    """The settings file, its section and the journals that it names.

    Read when a command needs them, so that --help works without a settings file.

    Attributes:
        config: the settings file.
    """

    def __init__(self, config: Path) -> None:
        self.config = config

    @cached_property
    def settings(self) -> SightingsSettings:
        """Section `[sightings]`.

        Raises:
            SettingsError: it cannot be used.
        """
        return load_section(self.config, "sightings", SightingsSettings)

    def journals(self) -> list[Path]:
        """The files there are, with what all proxies sent first; see `become_owner`."""
        self.become_owner()
        return [path for path in self._paths() if os.path.lexists(path)]

    def become_owner(self, *paths: Path | None) -> None:
        """Let root go on as the user to whom the journals' folders belong, for good.

        Args:
            paths: the journals that are used from now on; none means all.

        Raises:
            OwnerError: they belong to several users.
        """
        used = [path.parent for path in paths or self._paths() if path is not None]
        # In a folder that is not there nothing is opened, and nobody owns it.
        become_owner(*(folder for folder in used if folder.is_dir()))

    def _paths(self) -> list[Path]:
        paths = (reported_file(self.config, self.settings), own_file(self.config, self.settings))
        return [path for path in dict.fromkeys(paths) if path is not None]


def find_incident(configured: ConfiguredJournals, incident: str) -> tuple[Path, list[Sighting]]:
    """The journal that has an incident, and its sightings; ends the command if none has."""
    # The id may have been read out on the telephone. In Crockford's base 32, I and L mean 1,
    # and O means 0.
    spelt = incident.strip().upper()
    if not spelt.startswith("IG-"):
        spelt = f"IG-{spelt}"
    spelt = "IG-" + spelt[3:].translate(str.maketrans("ILO", "110"))
    for path in configured.journals():
        for name in dict.fromkeys((incident, spelt)):
            if found := list(read(path, incident=name)):
                return path, found
    click.echo(f"{cell(incident)}: no such incident here; it may be on another proxy", err=True)
    sys.exit(1)


def read(path: Path, since: float = 0.0, incident: str | None = None) -> Iterator[Sighting]:
    """See `Journal.read`."""
    with closing(Journal(path)) as journal:
        yield from journal.read(since=since, incident=incident)
