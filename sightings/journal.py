"""The journal of matches: SQLite in WAL mode, one record a matched rule.

It lies on the proxy, so it holds neither URLs nor indicators: MISP's attribute
UUIDs say the rest to whoever may ask MISP.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from sightings.rows import COLUMNS, Row, inserts, row

if TYPE_CHECKING:
    import sqlite3

_SELECT: Final = f"""
    SELECT id, origin, {COLUMNS}, events FROM sightings
    WHERE id > ? AND time >= ? AND (? IS NULL OR incident = ?) ORDER BY id LIMIT ?
"""  # noqa: S608
_SELECT_1: Final = _SELECT.replace("id, origin", "id, NULL", 1).replace("events", "'[]'", 1)
_ALL: Final = -1


class JournalError(Exception):
    """The journal cannot be written or read; names the file and the remedy."""


class Sighting(msgspec.Struct, frozen=True, kw_only=True):
    """One matched rule.

    Attributes:
        time: seconds since 1970, UTC.
        incident: the id on the blocked page.
        indicator_class: the rule's class, a MISP attribute type.
        attributes: UUIDs of the MISP attributes behind the rule.
        client: the client's address, or what the settings keep of it.
        method: the request's method.
        action: `block` or `log`.
        node: the proxy's name.
        events: ids of the MISP events, in the order of `attributes`; an id may be empty,
            and there may be none at all.
    """

    time: float
    incident: str
    indicator_class: str
    attributes: tuple[str, ...]
    client: str
    method: str
    action: str
    node: str
    events: tuple[str, ...] = ()


class Record(msgspec.Struct, frozen=True):
    """A sighting where it lies.

    Attributes:
        id: its position in this journal.
        origin: the same name in every journal that has a copy.
    """

    id: int
    origin: str
    sighting: Sighting


class Journal:
    """A journal file. Opened at first use; may be shared by threads and processes.

    Args:
        path: the SQLite file; made with mode 0640 if it is not there.
        busy_timeout: seconds to wait for another writer.
        is_durable: what is recorded survives a power cut, too.
    """

    def __init__(self, path: Path, *, busy_timeout: float = 5.0, is_durable: bool = False) -> None:
        self._path = path
        self._is_durable = is_durable
        self._busy_timeout = busy_timeout
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None

    @property
    def path(self) -> Path:
        """The SQLite file."""
        return self._path

    def append(self, sightings: Sequence[Sighting]) -> None:
        """Record sightings in one transaction, which is committed on return.

        Raises:
            JournalError: they were not recorded.
            UnicodeEncodeError: nor were these, since UTF-8 cannot hold one of their texts.
        """
        self.append_rows([_row_of(sighting) for sighting in sightings])

    def append_rows(self, rows: Sequence[Row]) -> None:
        """As `append`, of records that `rows.row` made: the way that requests take."""
        # Imported here: most helpers run long before their first match.
        from sightings.database import failing_as_one_line, transaction  # noqa: PLC0415

        statements = list(inserts(rows))
        # A statement alone is a transaction by itself.
        together = transaction if len(statements) > 1 else contextlib.nullcontext
        with self._lock:
            try:
                connection = self._writer()
                with failing_as_one_line(self._path), together(connection):
                    for statement, values in statements:
                        connection.execute(statement, values)
            except BaseException:
                self._drop()
                raise

    def adopt(self, copies: Sequence[tuple[str, Sighting]]) -> None:
        """Record copies of other journals' records, by origin; those already here stay.

        Raises:
            JournalError: they were not recorded.
        """
        self.append_rows([_row_of(sighting, origin) for origin, sighting in copies])

    def read(self, *, since: float = 0.0, incident: str | None = None) -> Iterator[Sighting]:
        """Sightings in the order of their recording.

        Args:
            since: leave out what is older (seconds since 1970).
            incident: only those with this id.

        Raises:
            JournalError: the file cannot be read; a file that is not there is empty.
        """
        from sightings.database import failing_as_one_line, open_reader  # noqa: PLC0415

        if not self._path.exists():
            return
        connection = open_reader(self._path, busy_seconds=self._busy_timeout)
        with contextlib.closing(connection), failing_as_one_line(self._path):
            for record in records(connection, since=since, incident=incident):
                yield record.sighting

    def join(self, agree: Callable[[str], str]) -> None:
        """Take the installation's id that others agree on, who are told this file's.

        Raises:
            JournalError: the file cannot be used.
        """
        from sightings.database import failing_as_one_line, installation  # noqa: PLC0415

        with self._lock, failing_as_one_line(self._path):
            connection = self._writer()
            agreed = agree(installation(connection))
            connection.execute(
                "UPDATE state SET value = ? WHERE name = 'installation' AND value <> ?",
                (agreed, agreed),
            )

    def close(self) -> None:
        """Close the file; the next `append` opens it again."""
        with self._lock:
            self._drop()

    def _writer(self) -> sqlite3.Connection:
        from sightings.database import open_writer  # noqa: PLC0415

        if self._connection is None:
            self._connection = open_writer(
                self._path, busy_seconds=self._busy_timeout, is_durable=self._is_durable
            )
        return self._connection

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def records(
    connection: sqlite3.Connection,
    *,
    after: int = 0,
    since: float = 0.0,
    incident: str | None = None,
    limit: int = _ALL,
) -> Iterator[Record]:
    """Records of an open journal, of any schema, in the order of their recording."""
    schema = connection.execute("PRAGMA user_version").fetchone()[0]
    if schema == 0:  # somebody is just making the file
        return
    select = _SELECT_1 if schema == 1 else _SELECT
    for found in connection.execute(select, (after, since, incident, incident, limit)):
        yield _record(found)


def _row_of(sighting: Sighting, origin: str | None = None) -> Row:
    return row(
        sighting.time,
        sighting.incident,
        sighting.indicator_class,
        sighting.attributes,
        sighting.client,
        sighting.method,
        sighting.action,
        sighting.node,
        sighting.events,
        origin,
    )


def _record(
    columns: tuple[int, str | None, float, str, str, str, str, str, str, str, str],
) -> Record:
    position, origin, time, incident, name, uuids, client, method, action, node, events = columns
    sighting = Sighting(
        time=time,
        incident=incident,
        indicator_class=name,
        attributes=_TEXTS.decode(uuids),
        client=client,
        method=method,
        action=action,
        node=node,
        events=_TEXTS.decode(events),
    )
    # A position can be used again after a power cut, an incident's id can not.
    return Record(position, origin or f"{incident}:{position}", sighting)


_TEXTS: Final = msgspec.json.Decoder(tuple[str, ...])
