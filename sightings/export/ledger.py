"""What of a journal was exported: positions, marks of the help desk, sightings for STIX.

All lies in the journal's file, so one transaction changes a sighting and the position up to
which records are counted in it, and a kill leaves both or neither. The tables are made when
they are first needed; a version that does not know them leaves them alone.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, Self

import msgspec

from inkgate.sightings.export import names
from inkgate.sightings.export.format import FalsePositive
from inkgate.sightings.export.stix import Seen, is_uuid
from inkgate.sightings.export_settings import ExportSettings
from inkgate.sightings.journal.database import (
    as_journal_errors,
    installation,
    open_writer,
    transaction,
)
from inkgate.sightings.journal.records import JournalRecord, count_after, next_records, unpack
from inkgate.sightings.journal.sighting import Sighting

_TABLES: Final = (
    """
    CREATE TABLE IF NOT EXISTS export_marks (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        time REAL NOT NULL,
        record TEXT NOT NULL UNIQUE
    ) STRICT
    """,
    # `offered` is the count of the newest version that was made, `told` of the newest one that
    # was taken. Times of versions are in milliseconds since 1970.
    """
    CREATE TABLE IF NOT EXISTS export_sightings (
        export TEXT NOT NULL,
        uuid TEXT NOT NULL,
        attribute TEXT NOT NULL,
        node TEXT NOT NULL,
        first REAL NOT NULL,
        last REAL NOT NULL,
        count INTEGER NOT NULL,
        created INTEGER NOT NULL,
        modified INTEGER NOT NULL,
        offered INTEGER NOT NULL DEFAULT 0,
        told INTEGER NOT NULL DEFAULT 0,
        told_at REAL NOT NULL DEFAULT 0,
        PRIMARY KEY (export, uuid)
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE INDEX IF NOT EXISTS export_sightings_untold
        ON export_sightings (export, uuid) WHERE count > told
    """,
)
_ADD: Final = """
    INSERT INTO export_sightings
        (export, uuid, attribute, node, first, last, count, created, modified)
    VALUES (:export, :uuid, :attribute, :node, :first, :last, :count, :now, :now)
    ON CONFLICT (export, uuid) DO UPDATE SET count = count + excluded.count,
        first = min(first, excluded.first), last = max(last, excluded.last)
"""
# A version whose answer was lost is made again as it was, unless its count has grown.
_OFFER: Final = """
    UPDATE export_sightings
    SET modified = CASE WHEN offered = 0 THEN created WHEN offered = count THEN modified
            ELSE max(:now, modified + 1) END,
        offered = count
    WHERE export = :export AND count > told AND (told = 0 OR told_at <= :before)
        AND uuid IN (SELECT uuid FROM export_sightings WHERE export = :export AND count > told
            AND (told = 0 OR told_at <= :before) ORDER BY uuid LIMIT :limit)
    RETURNING uuid, attribute, node, first, last, count, created, modified
"""
_TOLD: Final = """
    UPDATE export_sightings SET told = max(told, ?), told_at = ? WHERE export = ? AND uuid = ?
"""
_FORGET: Final = tuple(
    (f"SELECT 1 FROM {old} LIMIT 1", f"DELETE FROM {old}")  # noqa: S608 (our own words)
    for old in ("export_sightings WHERE told = count AND last < ?", "export_marks WHERE time < ?")
)
_MARKS: Final = "SELECT id, time, record FROM export_marks WHERE id > ? ORDER BY id LIMIT ?"
_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(Sighting).decode


class Ledger:
    """The part of a journal's file that is about one export. For one thread; close it.

    Args:
        path: the journal.
        settings: the export.

    Raises:
        JournalError: the file cannot be used; so from all methods.
    """

    def __init__(self, path: Path, settings: ExportSettings) -> None:
        self._path = path
        self._settings = settings
        self._connection = open_writer(path)
        try:
            with as_journal_errors(path):
                _make_tables(self._connection)
                self.installation = installation(self._connection)
                self._begin()
        except BaseException:
            self._connection.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def position(self) -> int:
        """The last record that was exported."""
        return self._at(self._settings.position)

    def next(self, after: int, limit: int) -> list[JournalRecord]:
        """Some records after a position."""
        with as_journal_errors(self._path):
            return next_records(self._connection, after, limit)

    def before(self, position: int) -> str:
        """The incident of the record at a position; empty if it is gone."""
        with as_journal_errors(self._path):
            select = "SELECT incident FROM sightings WHERE id = ?"
            row = self._connection.execute(select, (position,)).fetchone()
            return str(row[0]) if row else ""

    def lost(self, after: int, found: Sequence[JournalRecord]) -> int:
        """How many records after a position were removed before they were exported."""
        return max(0, found[0].id - after - 1) if found else 0

    def advance(self, position: int) -> None:
        """Note the last record that was exported."""
        self._move(self._settings.position, position)

    def unread(self) -> int:
        """How many records are not exported yet."""
        with as_journal_errors(self._path):
            return count_after(self._connection, self.position())

    def marks(self, limit: int) -> list[tuple[int, FalsePositive]]:
        """Some false positives that were not exported yet, each with its number."""
        with as_journal_errors(self._path):
            after = self._at(self._marks_position)
            rows = self._connection.execute(_MARKS, (after, limit)).fetchall()
            return [(n, FalsePositive(when, _decode(record))) for n, when, record in rows]

    def advance_marks(self, position: int) -> None:
        """Note the last false positive that was exported."""
        self._move(self._marks_position, position)

    def fold(self, found: Sequence[JournalRecord], window: int) -> None:
        """Count records in sightings, one for each attribute, node and window, and move on.

        Args:
            found: of `next`, from the position on.
            window: in seconds.
        """
        rows = self._folded(found, window)
        with as_journal_errors(self._path), transaction(self._connection):
            self._connection.executemany(_ADD, rows)
            self._put(self._settings.position, found[-1].id)

    def offer(self, limit: int) -> list[Seen]:
        """Some sightings that are to be told now, or again with another count."""
        now = time.time()
        values = {
            "export": self._settings.name,
            "now": int(now * 1000),
            "before": now - self._settings.update_minutes * 60,
            "limit": limit,
        }
        with as_journal_errors(self._path), transaction(self._connection):
            rows = self._connection.execute(_OFFER, values).fetchall()
        return [Seen(*row) for row in rows]

    def told(self, seen: Iterable[Seen]) -> None:
        """Note that versions of sightings were taken (or will never be)."""
        now, name = time.time(), self._settings.name
        rows = [(s.count, now, name, s.uuid) for s in seen]
        with as_journal_errors(self._path), transaction(self._connection):
            self._connection.executemany(_TOLD, rows)

    def forget(self, before: float) -> None:
        """Remove what was told, and marks, from before a time (seconds since 1970)."""
        with as_journal_errors(self._path):
            for find, delete in _FORGET:
                # Looked for first: nearly always there is nothing, and no lock is needed.
                if self._connection.execute(find, (before,)).fetchone():
                    with transaction(self._connection):
                        self._connection.execute(delete, (before,))

    @property
    def _marks_position(self) -> str:
        return f"{self._settings.position} marks"

    def _begin(self) -> None:
        """Give a new export its position."""
        name = self._settings.position
        select = "SELECT 1 FROM positions WHERE name = ?"
        if self._connection.execute(select, (name,)).fetchone():
            return
        if self._settings.start == "now":
            while unpack(self._connection):
                pass
            end = "SELECT coalesce(max(id), 0) FROM sightings"
        else:
            end = "SELECT coalesce(min(id) - 1, 0) FROM sightings"
        with transaction(self._connection):
            self._put(name, int(self._connection.execute(end).fetchone()[0]))

    def _at(self, name: str) -> int:
        select = "SELECT id FROM positions WHERE name = ?"
        with as_journal_errors(self._path):
            row = self._connection.execute(select, (name,)).fetchone()
        return int(row[0]) if row else 0

    def _move(self, name: str, position: int) -> None:
        with as_journal_errors(self._path), transaction(self._connection):
            self._put(name, position)

    def _put(self, name: str, position: int) -> None:
        statement = "INSERT OR REPLACE INTO positions (name, id) VALUES (?, ?)"
        self._connection.execute(statement, (name, position))

    def _folded(self, found: Iterable[JournalRecord], window: int) -> list[dict[str, object]]:
        counts: dict[str, list[Sighting]] = {}
        about: dict[str, str] = {}
        for record in found:
            seen = record.sighting
            start = int(seen.time // window) * window
            for attribute in _attributes(seen):
                parts = (attribute, seen.node, f"{start}+{window}")
                name = names.name_of(self.installation, "sighting", *parts)
                counts.setdefault(name, []).append(seen)
                about[name] = attribute
        now = int(time.time() * 1000)
        return [
            {
                "export": self._settings.name,
                "uuid": name,
                "attribute": about[name],
                "node": together[0].node,
                "first": min(s.time for s in together),
                "last": max(s.time for s in together),
                "count": len(together),
                "now": now,
            }
            for name, together in counts.items()
        ]


def add_marks(path: Path, sightings: Iterable[Sighting], now: float) -> None:
    """Note that the help desk calls records false positives, for all exports.

    Raises:
        JournalError: the file cannot be used.
    """
    rows = [(now, _encode(s).decode()) for s in sightings if not s.is_canary]
    with as_journal_errors(path), contextlib.closing(open_writer(path)) as connection:
        _make_tables(connection)
        with transaction(connection):
            insert = "INSERT OR IGNORE INTO export_marks (time, record) VALUES (?, ?)"
            connection.executemany(insert, rows)


def _make_tables(connection: sqlite3.Connection) -> None:
    # Looked for first: it needs no write lock, which somebody else may hold.
    count = "SELECT count(*) FROM sqlite_master WHERE name GLOB 'export_*'"
    if connection.execute(count).fetchone()[0] < len(_TABLES):
        with transaction(connection):
            for statement in _TABLES:
                connection.execute(statement)


def _attributes(sighting: Sighting) -> list[str]:
    """Those that can be told, each once; none of the check's own requests."""
    if sighting.is_canary:
        return []
    return [name for name in dict.fromkeys(sighting.attributes) if is_uuid(name)]
