"""The back-end of one proxy: a SQLite file, which is appended to and reported."""

from __future__ import annotations

from typing import Final

from inkgate.sightings.journal.backends.backend import JournalBackend

SQLITE_FILE: Final = JournalBackend(
    name="a SQLite file",
    schemes=(),
    own_file=lambda settings: settings.journal,
    reported_file=lambda settings: settings.journal,
    relay=None,
)
