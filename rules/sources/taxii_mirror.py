"""The objects of a TAXII collection, in SQLite. A reading's changes are committed together."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from inkgate.config.modes import make_folder
from inkgate.config.whole_file import create_once

_SCHEMA = """
CREATE TABLE IF NOT EXISTS objects (
    id TEXT NOT NULL, modified TEXT NOT NULL, body BLOB NOT NULL, PRIMARY KEY (id, modified)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS state (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""


class _Key(msgspec.Struct):
    id: Any = ""
    modified: Any = ""


class TaxiiMirror:
    """Objects by id and version.

    Args:
        path: the database; made with mode 0600 in a folder of mode 0700.
        fingerprint: what its content depends on; with another one it begins anew.

    Attributes:
        added_last: the server's moment up to which all objects are here; empty if unknown.
        full_at: when all of the collection was read, in seconds since 1970.
    """

    def __init__(self, path: Path, fingerprint: str) -> None:
        make_folder(path.parent, 0o700)
        create_once(path, b"", 0o600)
        self._db = sqlite3.connect(path)
        self._db.executescript(_SCHEMA)
        self._fingerprint = fingerprint
        if self._state("fingerprint") != fingerprint:
            self.clear()
        self.added_last = self._state("added_last")
        self.full_at = int(self._state("full_at") or 0)

    def objects(self) -> list[bytes]:
        """All of them, as JSON."""
        rows = self._db.execute("SELECT body FROM objects ORDER BY id, modified")
        return [body for (body,) in rows]

    def count(self) -> int:
        """How many there are."""
        return int(self._db.execute("SELECT count(*) FROM objects").fetchone()[0])

    def put(self, objects: Iterable[bytes | msgspec.Raw]) -> None:
        """Add objects, or replace them."""
        self._db.executemany(
            "INSERT OR REPLACE INTO objects VALUES (?, ?, ?)",
            ((*_key(bytes(body)), bytes(body)) for body in objects),
        )

    def clear(self) -> None:
        """Forget all objects."""
        self._db.execute("DELETE FROM objects")
        self._db.execute("DELETE FROM state")
        self.added_last, self.full_at = "", 0

    def commit(self) -> None:
        """Write all changes to the disk."""
        state = {
            "fingerprint": self._fingerprint,
            "added_last": self.added_last,
            "full_at": str(self.full_at),
        }
        self._db.executemany("INSERT OR REPLACE INTO state VALUES (?, ?)", state.items())
        self._db.commit()

    def undo(self) -> None:
        """Forget all changes since the last commit."""
        self._db.rollback()

    def close(self) -> None:
        """Close the database."""
        self._db.close()

    def _state(self, name: str) -> str:
        row = self._db.execute("SELECT value FROM state WHERE name = ?", (name,)).fetchone()
        return row[0] if row else ""


def _key(body: bytes) -> tuple[str, str]:
    """What tells an object from others; one without an id by all of it."""
    try:
        key = msgspec.json.decode(body, type=_Key)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        key = _Key()
    if isinstance(key.id, str) and key.id:
        return key.id, key.modified if isinstance(key.modified, str) else ""
    return hashlib.sha256(body).hexdigest(), ""
