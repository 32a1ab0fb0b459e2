"""From matches to the journal: what the helper and the ICAP server do with a hit."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from rules.matcher import Match
from rules.settings import SettingsError, load_section, resolve
from sightings.journal import Journal, JournalError, Sighting
from sightings.settings import SightingsSettings


class Recorder:
    """Writes matches to the journal; a journal that fails is said and does not unblock.

    Args:
        config: the settings file.
        log: takes one line without secrets.
    """

    def __init__(self, config: Path, log: Callable[[str], None]) -> None:
        self._log = log
        self._node = socket.gethostname()
        self._journal: Journal | None = None
        try:
            settings = load_section(config, "sightings", SightingsSettings)
        except SettingsError as error:
            log(str(error))
            return
        self._node = settings.node or self._node
        self._journal = Journal(resolve(config, settings.journal))

    def record(self, client: str, method: str, incident: str, matches: Sequence[Match]) -> None:
        """Journal one incident; it is on disk's way when this returns."""
        if self._journal is None:
            return
        now = time.time()
        try:
            self._journal.append(
                [
                    Sighting(
                        time=now,
                        incident=incident,
                        indicator_class=match.indicator_class,
                        attributes=match.message.uuids(),
                        client=client,
                        method=method,
                        action=match.message.action,
                        node=self._node,
                    )
                    for match in matches
                ]
            )
        except JournalError as error:
            self._log(f"a sighting was not journalled: {error}")
