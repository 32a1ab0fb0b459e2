"""Matches of logged requests as sightings, with the time at which they were logged."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from inkgate.config.owner import OwnerError, as_owner
from inkgate.config.settings_file import load_section, resolve
from inkgate.rules.match.errors import MatchError
from inkgate.rules.match.logs.times import parse_time
from inkgate.rules.match.worker import LogHit


class SightingsWriter:
    """Appends hits to the journal that `[sightings]` names.

    The only place where `rules` knows of `sightings` (docs/decisions/0060).

    Args:
        config: inkgate.toml.
        have_passed: the logged requests were let pass, whatever the rules say: `log` is
            recorded as their action.

    Raises:
        SettingsError, KeyFileError, MatchError: the section cannot be used.
    """

    def __init__(self, config: Path, *, have_passed: bool = False) -> None:
        # Imported here: a run without --sightings does not need these modules.
        from inkgate.sightings.journal.backends.registry import own_file  # noqa: PLC0415
        from inkgate.sightings.journal.clients import client_reducer  # noqa: PLC0415
        from inkgate.sightings.journal.journal import Journal  # noqa: PLC0415
        from inkgate.sightings.settings import SightingsSettings  # noqa: PLC0415

        settings = load_section(config, "sightings", SightingsSettings)
        path = own_file(config, settings)
        if path is None:
            raise MatchError("[sightings] journal is empty, so nothing can be journalled")
        self._node = settings.node_name()
        self._reduce = client_reducer(settings.clients, resolve(config, settings.clients_key_file))
        self._journal = Journal(path)
        self._have_passed = have_passed

    def write(self, hits: Sequence[LogHit]) -> None:
        """Journal hits in one transaction; the matches of one line are one incident.

        Raises:
            MatchError: they were not journalled.
        """
        from inkgate.sightings.errors import JournalError  # noqa: PLC0415
        from inkgate.sightings.journal.incident import new_incident  # noqa: PLC0415
        from inkgate.sightings.journal.sighting import Sighting  # noqa: PLC0415

        now = time.time()
        incidents: dict[int, str] = {}
        sightings = []
        for hit in hits:
            logged = parse_time(hit.time)
            sightings.append(
                Sighting(
                    time=now if logged is None else logged,
                    incident=incidents.setdefault(hit.line, new_incident()),
                    indicator_class=hit.match.indicator_class,
                    attributes=hit.match.message.uuids(),
                    events=hit.match.message.event_ids(),
                    client=self._reduce(hit.client),
                    method=hit.method,
                    action="log" if self._have_passed else hit.match.message.action,
                    node=self._node,
                )
            )
        try:
            if sightings:
                # The logs that are read are often root's alone, the journal is not.
                with as_owner(self._journal.path.parent):
                    self._journal.append(sightings)
        except (JournalError, OwnerError) as error:
            raise MatchError(str(error)) from None

    def close(self) -> None:
        """Close the journal."""
        with as_owner(self._journal.path.parent):
            self._journal.close()
