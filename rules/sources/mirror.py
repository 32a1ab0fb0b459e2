"""A mirror of a MISP's attributes in SQLite. An event's changes are committed together."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import msgspec

from inkgate.config.modes import make_folder
from inkgate.config.whole_file import create_once
from inkgate.rules.sources.attribute import Attribute

_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Attribute)
_SCHEMA = """
CREATE TABLE IF NOT EXISTS attributes (
    uuid TEXT PRIMARY KEY, event TEXT NOT NULL, body BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS by_event ON attributes (event);
CREATE TABLE IF NOT EXISTS versions (event TEXT PRIMARY KEY, version TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS marks (event TEXT PRIMARY KEY, mark TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS state (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""


class Mirror:
    """Attributes by UUID, the version in which each event was read, and when.

    Args:
        path: the database; made with mode 0600 in a folder of mode 0700.
        fingerprint: what its content depends on; with another one it begins anew.

    Attributes:
        synced_at, full_at, rechecked_at: moments of the MISP's clock, in seconds since 1970.
    """

    def __init__(self, path: Path, fingerprint: str) -> None:
        make_folder(path.parent, 0o700)
        create_once(path, b"", 0o600)
        self._db = sqlite3.connect(path)
        self._db.executescript(_SCHEMA)
        if self._state("fingerprint") != fingerprint:
            for table in ("attributes", "versions", "marks", "state"):
                self._db.execute(f"DELETE FROM {table}")  # noqa: S608 (our own words)
            self._set("fingerprint", fingerprint)
            self._db.commit()
        self.synced_at = int(self._state("synced_at") or 0)
        self.full_at = int(self._state("full_at") or 0)
        self.rechecked_at = int(self._state("rechecked_at") or 0)

    def attributes(self) -> Iterator[Attribute]:
        """All of them, ordered by UUID."""
        for (body,) in self._db.execute("SELECT body FROM attributes ORDER BY uuid"):
            yield _DECODER.decode(body)

    def put(self, attributes: Iterable[Attribute]) -> None:
        """Add attributes, or replace them."""
        self._db.executemany(
            "INSERT OR REPLACE INTO attributes VALUES (?, ?, ?)",
            ((_key(a), a.event_uuid, _ENCODER.encode(a)) for a in attributes),
        )

    def versions(self) -> dict[str, str]:
        """The version of each event that need not be read again."""
        return dict(self._db.execute("SELECT event, version FROM versions"))

    def settle(self, versions: Mapping[str, str]) -> None:
        """Note in which version events were read. What was seen of them before is old."""
        self._db.executemany("INSERT OR REPLACE INTO versions VALUES (?, ?)", versions.items())
        self._db.executemany("DELETE FROM marks WHERE event = ?", ((e,) for e in versions))

    def unsettle(self, events: Iterable[str] | None = None) -> None:
        """Let events be read again, or all of them; what was read of them stays until then."""
        if events is None:
            self._db.execute("DELETE FROM versions")
        else:
            self._db.executemany("DELETE FROM versions WHERE event = ?", ((e,) for e in events))

    def remove_events(self, events: Iterable[str]) -> None:
        """Remove events with their attributes."""
        names = [(event,) for event in events]
        self._db.executemany("DELETE FROM attributes WHERE event = ?", names)
        self._db.executemany("DELETE FROM versions WHERE event = ?", names)

    def event_count(self) -> int:
        """How many events it holds, those without attributes included."""
        return len(self._events())

    def keep_events(self, events: Mapping[str, object]) -> None:
        """Remove all other events."""
        self.remove_events(event for event in self._events() if event not in events)

    def note(self, *, synced_at: int, full_at: int) -> None:
        """Note the times of this reading, by the MISP's clock, in seconds since 1970."""
        self._set("synced_at", str(synced_at))
        self._set("full_at", str(full_at))
        self.synced_at, self.full_at = synced_at, full_at

    def names(self) -> Iterator[tuple[str, str]]:
        """Event and UUID of each attribute."""
        yield from self._db.execute("SELECT event, uuid FROM attributes")

    def marks(self) -> dict[str, str]:
        """What was seen of events when they were last looked at by name, by UUID."""
        return dict(self._db.execute("SELECT event, mark FROM marks"))

    def mark(self, marks: Mapping[str, str]) -> None:
        """Note what is seen of events now, and of no others."""
        self._db.execute("DELETE FROM marks")
        self._db.executemany("INSERT INTO marks VALUES (?, ?)", marks.items())

    def note_recheck(self, at: int) -> None:
        """Note when events were last looked at by name, by the MISP's clock."""
        self._set("rechecked_at", str(at))
        self.rechecked_at = at

    def commit(self) -> None:
        """Write all changes since the last commit to the disk."""
        self._db.commit()

    def undo(self) -> None:
        """Forget all changes since the last commit."""
        self._db.rollback()

    def close(self) -> None:
        """Close the database."""
        self._db.close()

    def _events(self) -> list[str]:
        known = "SELECT event FROM versions UNION SELECT DISTINCT event FROM attributes"
        return [event for (event,) in self._db.execute(known)]

    def _state(self, name: str) -> str:
        row = self._db.execute("SELECT value FROM state WHERE name = ?", (name,)).fetchone()
        return row[0] if row else ""

    def _set(self, name: str, value: str) -> None:
        self._db.execute("INSERT OR REPLACE INTO state VALUES (?, ?)", (name, value))


def _key(attribute: Attribute) -> str:
    """Its UUID; of one without, which is odd, all of it: it must not replace another."""
    return attribute.uuid or hashlib.sha256(_ENCODER.encode(attribute)).hexdigest()
