"""The journal of matches: SQLite in WAL mode, one record a matched rule.

It lies on the proxy, so it holds neither URLs nor indicators: MISP's attribute
UUIDs say the rest to whoever may ask MISP.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    import sqlite3

SCHEMA: Final = 1
_CREATE: Final = """
CREATE TABLE IF NOT EXISTS sightings (
    id INTEGER PRIMARY KEY,
    time REAL NOT NULL,
    incident TEXT NOT NULL,
    class TEXT NOT NULL,
    attributes TEXT NOT NULL,
    client TEXT NOT NULL,
    method TEXT NOT NULL,
    action TEXT NOT NULL,
    node TEXT NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS sightings_incident ON sightings (incident);
"""
_INSERT: Final = (
    "INSERT INTO sightings (time, incident, class, attributes, client, method, action, node) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)
_SELECT: Final = (
    "SELECT time, incident, class, attributes, client, method, action, node FROM sightings "
    "WHERE time >= ? AND (? IS NULL OR incident = ?) ORDER BY id"
)


class JournalError(Exception):
    """The journal cannot be written or read; names the file and the remedy."""


class Sighting(msgspec.Struct, frozen=True, kw_only=True):
    """One matched rule.

    Attributes:
        time: seconds since 1970, UTC.
        incident: the id on the blocked page.
        indicator_class: the rule's class, a MISP attribute type.
        attributes: UUIDs of the MISP attributes behind the rule.
        client: the client's address.
        method: the request's method.
        action: `block` or `log`.
        node: the proxy's name.
    """

    time: float
    incident: str
    indicator_class: str
    attributes: tuple[str, ...]
    client: str
    method: str
    action: str
    node: str


class Journal:
    """A journal file. Opened at first use; may be shared by threads and processes.

    Args:
        path: the SQLite file; made with mode 0640 if it is not there.
        busy_timeout: seconds to wait for another writer.
    """

    def __init__(self, path: Path, *, busy_timeout: float = 5.0) -> None:
        self._path = path
        self._busy_timeout = busy_timeout
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None

    def append(self, sightings: Sequence[Sighting]) -> None:
        """Record sightings in one transaction, which is committed on return.

        Raises:
            JournalError: they were not recorded.
        """
        # Imported here: most helpers run long before their first match.
        import sqlite3  # noqa: PLC0415

        with self._lock:
            try:
                with self._writer() as connection:
                    connection.executemany(_INSERT, map(_row, sightings))
            except (sqlite3.Error, OSError) as error:
                self._drop()
                raise self._error(error) from None

    def read(self, *, since: float = 0.0, incident: str | None = None) -> Iterator[Sighting]:
        """Sightings in the order of their recording.

        Args:
            since: leave out what is older (seconds since 1970).
            incident: only those with this id.

        Raises:
            JournalError: the file cannot be read; a file that is not there is empty.
        """
        import sqlite3  # noqa: PLC0415

        if not self._path.exists():
            return
        try:
            connection = sqlite3.connect(
                f"{self._path.absolute().as_uri()}?mode=ro",
                uri=True,
                timeout=self._busy_timeout,
            )
            try:
                self._check_schema(connection)
                for row in connection.execute(_SELECT, (since, incident, incident)):
                    yield _sighting(row)
            finally:
                connection.close()
        except (sqlite3.Error, ValueError) as error:
            raise self._error(error) from None

    def close(self) -> None:
        """Close the file; the next `append` opens it again."""
        with self._lock:
            self._drop()

    def _writer(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = self._open()
        return self._connection

    def _open(self) -> sqlite3.Connection:
        import sqlite3  # noqa: PLC0415

        with _alone(self._path.parent):
            if not self._path.exists():
                # Made here, not by SQLite: its own files get the mode of this one.
                os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o640))
            connection = sqlite3.connect(
                self._path, timeout=self._busy_timeout, check_same_thread=False
            )
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                # In WAL mode NORMAL survives the end of any process; a power cut may take
                # the last records with it, and waiting for the disk would hold up answers.
                connection.execute("PRAGMA synchronous = NORMAL")
                if self._check_schema(connection) == 0:
                    connection.executescript(_CREATE)
                    connection.execute(f"PRAGMA user_version = {SCHEMA}")
            except BaseException:
                connection.close()
                raise
            return connection

    def _check_schema(self, connection: sqlite3.Connection) -> int:
        version: int = connection.execute("PRAGMA user_version").fetchone()[0]
        if version > SCHEMA:
            raise JournalError(
                f"{self._path}: written by a newer inkgate (schema {version}); upgrade this one"
            )
        return version

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _error(self, error: Exception) -> JournalError:
        return JournalError(
            f"{self._path}: {error}; check that the folder exists, belongs to the proxy's user "
            "and has room"
        )


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One opener at a time: SQLite waits for no other process while it changes to WAL mode."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _row(s: Sighting) -> tuple[float, str, str, str, str, str, str, str]:
    uuids = json.dumps(s.attributes)
    return s.time, s.incident, s.indicator_class, uuids, s.client, s.method, s.action, s.node


def _sighting(row: tuple[float, str, str, str, str, str, str, str]) -> Sighting:
    time, incident, name, uuids, client, method, action, node = row
    return Sighting(
        time=time,
        incident=incident,
        indicator_class=name,
        attributes=tuple(json.loads(uuids)),
        client=client,
        method=method,
        action=action,
        node=node,
    )
