"""The table of the journal's back-ends, and what `journal` names.

To add a back-end, write its module and give it a line in `BACKENDS`. Nothing else in the
program knows which there are.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from inkgate.config.settings_file import SettingsError, resolve
from inkgate.sightings.journal.backends.backend import JournalBackend
from inkgate.sightings.journal.backends.redis_journal import REDIS_STREAM
from inkgate.sightings.journal.backends.sqlite_file import SQLITE_FILE
from inkgate.sightings.settings import SightingsSettings

BACKENDS: Final[tuple[JournalBackend, ...]] = (
    SQLITE_FILE,
    REDIS_STREAM,
)

# The key None stands for paths.
_BY_SCHEME: Final[dict[str | None, JournalBackend]] = {
    scheme: backend for backend in BACKENDS for scheme in backend.schemes or (None,)
}


def backend_of(config: Path, settings: SightingsSettings) -> JournalBackend:
    """The back-end that the setting `journal` names.

    Raises:
        SettingsError: it is a URL of none.
    """
    scheme, mark, _ = settings.journal.partition("://")
    backend = _BY_SCHEME.get(scheme.lower() if mark else None)
    if backend is None:
        known = ", ".join(f"{known}://" for known in _BY_SCHEME if known)
        raise SettingsError(
            config,
            f"[sightings] journal: there is no back-end for {scheme}://",
            f"give a path, or a URL with {known}",
        )
    return backend


def own_file(config: Path, settings: SightingsSettings) -> Path | None:
    """The SQLite file that this proxy appends to, or None if it records nothing.

    Raises:
        SettingsError: see `backend_of`.
    """
    return _path(config, backend_of(config, settings).own_file(settings))


def reported_file(config: Path, settings: SightingsSettings) -> Path | None:
    """The SQLite file whose records are reported from here, or None if there is none.

    Raises:
        SettingsError: see `backend_of`.
    """
    return _path(config, backend_of(config, settings).reported_file(settings))


def _path(config: Path, value: str) -> Path | None:
    return resolve(config, value) if value else None
