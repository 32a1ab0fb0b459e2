"""How long records are kept: by age and size, and never before they are handed on."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from inkgate.config.printable import Log
from inkgate.sightings.journal.backends.backend import DRAINED
from inkgate.sightings.journal.database import (
    as_journal_errors,
    open_writer,
    short_log,
    transaction,
)
from inkgate.sightings.journal.records import count_damaged, unpack, used_bytes
from inkgate.sightings.journal.reserve import deleting, keep
from inkgate.sightings.report.outbox import ReportState
from inkgate.sightings.settings import SightingsSettings

_ROWS_AT_ONCE: Final = 500
_PAUSE_SECONDS: Final = 0.005
_DAY: Final = 86_400
_MIB: Final = 1 << 20
# The last record stays whatever its age: otherwise SQLite would give its id again.
_DELETE: Final = """
    DELETE FROM sightings WHERE id IN (
        SELECT id FROM sightings
        WHERE id <= :upto AND time < :before AND id < (SELECT max(id) FROM sightings)
        ORDER BY id LIMIT :rows)
"""
_FORGET: Final = f"""
    DELETE FROM outbox WHERE uuid IN (
        SELECT uuid FROM outbox
        WHERE state = {ReportState.REPORTED} AND last < :before
            OR state = {ReportState.REFUSED} AND changed < :before
        LIMIT :rows)
"""  # noqa: S608 (our own words)
_FORGET_DAMAGED: Final = """
    DELETE FROM blocks WHERE id IN (
        SELECT id FROM blocks WHERE is_damaged AND time < :before LIMIT :rows)
"""
_EVERYTHING: Final = 2**62


def prune(path: Path, settings: SightingsSettings, position: str | None, log: Log) -> int:
    """Remove old records of a journal; how many.

    Args:
        path: the journal.
        settings: `keep_days`, `keep_mib`, `hard_mib`.
        position: the name of the position that records must have passed; None if they
            are not handed on. Those of the exports they must have passed in any case, unless
            this is a file whose records are exported elsewhere (`DRAINED`).
        log: takes one line.

    Raises:
        JournalError: the file cannot be used.
    """
    if not os.path.lexists(path):
        return 0
    removed = deleting(path, lambda: _pruned(path, settings, position, log))
    keep(path)
    return removed


def _pruned(path: Path, settings: SightingsSettings, position: str | None, log: Log) -> int:
    connection = open_writer(path)
    try:
        with as_journal_errors(path), short_log(connection):
            # Old records are removed first: this makes room in the file for the rows that
            # blocks become.
            removed = _prune(connection, settings, position, log)
            while _unpacked_some(connection):
                time.sleep(_PAUSE_SECONDS)
            if damaged := count_damaged(connection):
                log(
                    f"{path}: {damaged} blocks of incidents are damaged and were put aside; "
                    f"they are removed after {settings.keep_days} days"
                )
            return removed + _prune(connection, settings, position, log)
    finally:
        connection.close()


def _prune(
    connection: sqlite3.Connection,
    settings: SightingsSettings,
    position: str | None,
    log: Log,
) -> int:
    exports = () if position == DRAINED else (e.position for e in settings.export)
    upto = min(_handed_on(connection, name) for name in (position, *exports))
    before = time.time() - settings.keep_days * _DAY
    removed = sum(_deleted(connection, _DELETE, upto=upto, before=before))
    for statement in (_FORGET, _FORGET_DAMAGED):
        for _ in _deleted(connection, statement, before=before):
            pass
    reported = _deleted(connection, _DELETE, upto=upto, before=_EVERYTHING)
    removed += _shrunk(connection, reported, settings.keep_mib)
    # Sightings that MISP has taken or refused are removed before records that were never
    # reported.
    _shrunk(connection, _deleted(connection, _FORGET, before=_EVERYTHING), settings.hard_mib)
    unsent = _deleted(connection, _DELETE, upto=_EVERYTHING, before=_EVERYTHING)
    lost = _shrunk(connection, unsent, settings.hard_mib)
    if lost:
        log(
            f"{lost} records were removed before they were reported or exported: the journal is "
            f"larger than hard_mib ({settings.hard_mib})"
        )
    return removed + lost


def _unpacked_some(connection: sqlite3.Connection) -> bool:
    # On a disk that is nearly full the WAL must not grow: its pages are moved into the file
    # first.
    connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
    return unpack(connection)


def _shrunk(connection: sqlite3.Connection, deleted: Iterator[int], mib: int) -> int:
    """Delete while the journal is larger than so much, and as long as that helps."""
    done = 0
    used = used_bytes(connection)
    while used > mib * _MIB and (count := next(deleted, 0)):
        done += count
        before, used = used, used_bytes(connection)
        if used >= before:
            break
    return done


def _handed_on(connection: sqlite3.Connection, position: str | None) -> int:
    if position is None:
        return _EVERYTHING
    row = connection.execute("SELECT id FROM positions WHERE name = ?", (position,)).fetchone()
    return row[0] if row else 0


def _deleted(connection: sqlite3.Connection, statement: str, **values: float) -> Iterator[int]:
    """Delete in small transactions, each as the caller wants more; yields their sizes."""
    while True:
        with transaction(connection):
            count = connection.execute(statement, {**values, "rows": _ROWS_AT_ONCE}).rowcount
        if count <= 0:
            return
        yield count
        # Between two transactions the helper can take the write lock.
        time.sleep(_PAUSE_SECONDS)
