"""The sightings to report to MISP, one per attribute, node and window, and their states.

Folding: records of the same attribute, node and window become one sighting. The same
transaction changes the outbox and the position up to which records were read, so no record
is lost or counted twice if the process is killed. A sighting's UUID is derived from
installation, attribute, node and window (of a false positive: its incident). If it is sent
again, it is the same sighting for MISP.
"""

from __future__ import annotations

import contextlib
import enum
import sqlite3
import time
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple, Self

import msgspec

from inkgate.sightings.journal.database import (
    as_journal_errors,
    check_schema,
    installation,
    open_reader,
    open_writer,
    transaction,
)
from inkgate.sightings.journal.records import JournalRecord, count_after, next_records
from inkgate.sightings.journal.sighting import Sighting
from inkgate.sightings.settings import MAX_SOURCE

REPORTED: Final = "reported"
SIGHTING: Final = 0
FALSE_POSITIVE: Final = 1

_NAMESPACE: Final = uuid.UUID("7a9d6f0e-4a0c-5d0b-9d6e-0c5f6d1b2a3c")
_FOLD_ROWS: Final = 2000
# The first schema with an installation id.
_SCHEMA_WITH_NAMES: Final = 3
_HOUR: Final = 3600
_ADD: Final = """
    INSERT INTO outbox (uuid, type, attribute, event, node, first, last, count, state, reason,
        changed) VALUES (:uuid, :type, :attribute, :event, :node, :first, :last, :count, :state,
        :reason, :changed)
    ON CONFLICT (uuid) DO UPDATE SET count = count + excluded.count,
        last = max(last, excluded.last),
        event = CASE event WHEN '' THEN excluded.event ELSE event END
"""
_COLUMNS: Final = (
    "uuid, type, attribute, event, node, first, last, count, state, tries, reason, failures"
)


class ReportState(enum.IntEnum):
    """What became of a sighting."""

    WAITING = 0
    REPORTED = 1
    REFUSED = 2


class Item(msgspec.Struct, frozen=True, array_like=True):
    """A sighting in the outbox.

    Attributes:
        uuid: the sighting's own.
        kind: MISP's type: 0 sighting, 1 false positive.
        attribute: UUID of the MISP attribute.
        event: id of its event, as the rule had it; may be empty.
        node: where it was seen; MISP's `source`.
        first: when it was seen first in its window (seconds since 1970).
        last: when it was seen last.
        count: how many records it stands for.
        state: what became of it.
        tries: requests whose outcome is not known.
        reason: why MISP refused it, or the last failure.
        failures: how often MISP failed at it while it accepted others.
    """

    uuid: str
    kind: int
    attribute: str
    event: str
    node: str
    first: float
    last: float
    count: int
    state: ReportState
    tries: int
    reason: str
    failures: int


class _Naming(NamedTuple):
    """How sightings get their UUIDs; `window` in seconds."""

    installation: str
    window: int

    def name(self, kind: int, attribute: str, sighting: Sighting) -> str:
        """A UUID of version 5 (RFC 9562), from the installation and what the sighting is about."""
        start = int(sighting.time // self.window) * self.window
        about = sighting.incident if kind == FALSE_POSITIVE else f"{start}+{self.window}"
        what = f"{kind}\0{attribute}\0{sighting.node}\0{about}"
        return str(
            uuid.uuid5(_NAMESPACE, f"{self.installation}\0{what}" if self.installation else what)
        )


class Outbox:
    """The outbox in a journal's file. For one thread; close it, or use it in a `with`.

    Args:
        path: the journal.
        window_hours: one sighting per attribute, node and this time.
    """

    def __init__(self, path: Path, window_hours: int) -> None:
        self._path = path
        self._window = window_hours * _HOUR
        self._connection = open_writer(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def fold(self) -> int:
        """Take in the next records of the journal; how many there were.

        Raises:
            JournalError: the file cannot be used; nothing was taken in.
        """
        with as_journal_errors(self._path):
            after = self.position()
            found = next_records(self._connection, after, _FOLD_ROWS)
            if not found:
                return 0
            items = self._folded(found)
            # Computed before the write lock is taken: the helper must not wait for it.
            with transaction(self._connection):
                if self.position() != after:
                    return len(found)  # another process has folded these records
                self._connection.executemany(_ADD, items)
                self._connection.execute(
                    "INSERT OR REPLACE INTO positions (name, id) VALUES (?, ?)",
                    (REPORTED, found[-1].id),
                )
            return len(found)

    def position(self, name: str = REPORTED) -> int:
        """The last record that was taken in, or that a position of another name stands at."""
        row = self._connection.execute(
            "SELECT id FROM positions WHERE name = ?", (name,)
        ).fetchone()
        return row[0] if row else 0

    def waiting(self, limit: int, first_wait: float = 0.0, longest_wait: float = 0.0) -> list[Item]:
        """Some of what MISP has not yet: what was tried least first, events together.

        What MISP failed at rests for `first_wait` seconds times four for each failure, or
        `longest_wait`.
        """
        return self._items(
            "state = ? AND (failures = 0 OR abs(? - changed) >= "
            "min(?, ? * (1 << min(2 * failures, 30)))) ORDER BY tries, event, uuid LIMIT ?",
            ReportState.WAITING, time.time(), longest_wait, first_wait, limit,
        )  # fmt: skip

    def refused(self) -> list[Item]:
        """What MISP did not take."""
        return self._items("state = ? ORDER BY changed, uuid", ReportState.REFUSED)

    def told(self, limit: int) -> list[Item]:
        """Some of what MISP has, the last ones first."""
        return self._items(
            "state = ? ORDER BY changed DESC, uuid LIMIT ?", ReportState.REPORTED, limit
        )

    def named(self, name: str) -> list[Item]:
        """The sighting with a UUID, if there is one."""
        return self._items("uuid = ?", name)

    def oldest_waiting(self, now: float) -> int:
        """For how long the oldest sighting waits, in seconds; 0 if none does."""
        row = self._connection.execute("SELECT min(first) FROM outbox WHERE state = 0").fetchone()
        return 0 if row[0] is None else max(0, int(now - row[0]))

    def settle(self, uuids: Iterable[str], state: ReportState, reason: str = "") -> None:
        """Note what became of sightings."""
        now = time.time()
        self._change(
            "UPDATE outbox SET state = ?, reason = ?, changed = ? WHERE uuid = ?",
            [(state, reason, now, name) for name in uuids],
        )

    def put_off(self, uuids: Iterable[str], reason: str) -> None:
        """Count a failure of MISP at these sightings while it accepted others."""
        now = time.time()
        self._change(
            "UPDATE outbox SET failures = failures + 1, reason = ?, changed = ? WHERE uuid = ?",
            [(reason, now, name) for name in uuids],
        )

    def try_again(self, uuids: Iterable[str]) -> None:
        """Count an attempt, before the request is sent: its outcome may stay unknown."""
        self._change(
            "UPDATE outbox SET tries = tries + 1 WHERE uuid = ?", [(name,) for name in uuids]
        )

    def retry(self, uuids: Iterable[str]) -> None:
        """Let refused sightings wait again."""
        self._change(
            "UPDATE outbox SET state = 0, failures = 0, reason = '' WHERE uuid = ? AND state = 2",
            [(name,) for name in uuids],
        )

    def add_false_positive(self, sighting: Sighting, now: float) -> list[str]:
        """Put a false positive for each attribute of a record into the outbox; their UUIDs.

        The same incident gives the same false positives, however often it is said.
        """
        with as_journal_errors(self._path), transaction(self._connection):
            naming = _Naming(installation(self._connection), self._window)
            items = [
                _item(FALSE_POSITIVE, attribute, event, sighting, now, naming)
                for attribute, event in _attributes(sighting)
            ]
            self._connection.executemany(_ADD.replace("count + excluded.count", "1"), items)
        return [str(item["uuid"]) for item in items]

    def counts(self) -> dict[ReportState, int]:
        """How many sightings are in which state."""
        with as_journal_errors(self._path):
            rows = self._connection.execute("SELECT state, count(*) FROM outbox GROUP BY state")
            found = {ReportState(state): count for state, count in rows}
        return dict.fromkeys(ReportState, 0) | found

    def unread(self, names: Iterable[str] = (REPORTED,)) -> int:
        """How many records some of these positions have not passed yet: which are not folded."""
        with as_journal_errors(self._path):
            return count_after(self._connection, min(map(self.position, names)))

    def _folded(self, found: Iterable[JournalRecord]) -> list[dict[str, object]]:
        items: dict[str, dict[str, object]] = {}
        naming = _Naming(installation(self._connection), self._window)
        for record in found:
            sighting = record.sighting
            for attribute, event in _attributes(sighting):
                item = _item(SIGHTING, attribute, event, sighting, sighting.time, naming)
                known = items.setdefault(str(item["uuid"]), item)
                if known is not item:
                    known["count"] = int(str(known["count"])) + 1
                    known["last"] = max(float(str(known["last"])), sighting.time)
        return list(items.values())

    def _items(self, where: str, *values: object) -> list[Item]:
        with as_journal_errors(self._path):
            return _select(self._connection, where, *values)

    def _change(self, statement: str, rows: list[tuple[object, ...]]) -> None:
        with as_journal_errors(self._path), transaction(self._connection):
            self._connection.executemany(statement, rows)


def read_items(path: Path, window_hours: int, sighting: Sighting) -> list[Item]:
    """The sightings in the outbox that a record is part of, and false positives of its incident.

    Raises:
        JournalError: the file cannot be read.
    """
    with as_journal_errors(path), contextlib.closing(open_reader(path)) as connection:
        if check_schema(connection, path) < _SCHEMA_WITH_NAMES:
            return []
        # Sightings queued by a version without installation ids keep their UUIDs.
        namings = [_Naming(i, window_hours * _HOUR) for i in (installation(connection), "")]
        names = [
            naming.name(kind, attribute, sighting)
            for kind in (SIGHTING, FALSE_POSITIVE)
            for attribute in dict.fromkeys(sighting.attributes)
            for naming in namings
        ]
        return [item for name in names for item in _select(connection, "uuid = ?", name)]


def _select(connection: sqlite3.Connection, where: str, *values: object) -> list[Item]:
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM outbox WHERE {where}",  # noqa: S608 (our own words)
        values,
    ).fetchall()
    return [msgspec.convert(row, Item, strict=True) for row in rows]


def _item(
    kind: int, attribute: str, event: str, sighting: Sighting, moment: float, naming: _Naming
) -> dict[str, object]:
    reason = _unfit(attribute, sighting.node)
    return {
        "uuid": naming.name(kind, attribute, sighting),
        "type": kind,
        "attribute": attribute,
        "event": event if event.isascii() and event.isdigit() else "",
        "node": sighting.node,
        "first": moment,
        "last": moment,
        "count": 1,
        "state": ReportState.REFUSED if reason else ReportState.WAITING,
        "reason": reason,
        "changed": time.time(),
    }


def _attributes(sighting: Sighting) -> Iterator[tuple[str, str]]:
    """A record's attributes with their events, each once; none of the check's own requests."""
    if sighting.is_canary:
        return
    events = dict(zip(sighting.attributes, sighting.events, strict=False))
    for attribute in dict.fromkeys(sighting.attributes):
        yield attribute, events.get(attribute, "")


def _unfit(attribute: str, node: str) -> str:
    """Why no MISP would take a sighting; empty if one may."""
    if not _is_uuid(attribute):
        return "the rule names an attribute that is no UUID"
    if len(node) > MAX_SOURCE:
        return f"the name of the proxy has more than {MAX_SOURCE} characters"
    return ""


def _is_uuid(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text.lower()
    except ValueError:
        return False
