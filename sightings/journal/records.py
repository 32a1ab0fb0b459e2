"""The records in a journal's file, whatever its schema, and the blocks before them.

Helper and ICAP server write blocks. The commands that work on records first turn the
blocks into rows; so each record gets its position.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from inkgate.sightings.journal.block import BlockError, unpacked
from inkgate.sightings.journal.database import short_log, transaction
from inkgate.sightings.journal.sighting import Sighting

_COLUMNS: Final = "time, incident, class, attributes, client, method, action, node"
_SELECT: Final = f"""
    SELECT id, origin, {_COLUMNS}, events FROM sightings
    WHERE id > ? AND time >= ? AND (? IS NULL OR incident = ?) ORDER BY id LIMIT ?
"""  # noqa: S608 (our own words, here and below)
_SELECT_1: Final = _SELECT.replace("id, origin", "id, NULL", 1).replace("events", "'[]'", 1)
_INSERT: Final = f"""
    INSERT OR IGNORE INTO sightings ({_COLUMNS}, events, origin)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""  # noqa: S608
# Rows are older than the blocks beside them. The newest stays: its id is not given again.
_DROP_OLDEST: Final = tuple(
    f"DELETE FROM {table} WHERE id IN (SELECT id FROM {table} "  # noqa: S608
    f"WHERE id < (SELECT max(id) FROM {table}) ORDER BY id LIMIT 100)"
    for table in ("sightings", "blocks")
)
_ALL: Final = -1
_SCHEMA_WITH_BLOCKS: Final = 4
_ANY_BLOCK: Final = "SELECT 1 FROM blocks WHERE NOT is_damaged LIMIT 1"
_BLOCKS: Final = "SELECT id, node, data FROM blocks WHERE NOT is_damaged ORDER BY id"
# Limits of one transaction that turns blocks into rows: the helper waits for its end before
# it can write the next block.
_MOST_BLOCKS: Final = 500
_MOST_BYTES: Final = 1 << 18
_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(tuple[str, ...]).decode


class JournalRecord(msgspec.Struct, frozen=True):
    """A sighting where it lies.

    Attributes:
        id: its position in this journal.
        origin: the same name in every journal that has a copy.
    """

    id: int
    origin: str
    sighting: Sighting


def insert(connection: sqlite3.Connection, copies: Iterable[tuple[str | None, Sighting]]) -> None:
    """Add rows, each with its origin; those whose origin is here stay as they are.

    Raises:
        UnicodeEncodeError: UTF-8 cannot hold one of their texts.
    """
    connection.executemany(_INSERT, (_row(sighting, origin) for origin, sighting in copies))


def insert_block(connection: sqlite3.Connection, node: str, data: bytes) -> None:
    """Add a block of a proxy."""
    connection.execute(
        "INSERT INTO blocks (time, node, data) VALUES (?, ?, ?)", (time.time(), node, data)
    )


def unpack(connection: sqlite3.Connection) -> bool:
    """Turn the oldest blocks into rows, in a transaction so short that writers hardly wait.

    Damaged blocks are marked; `prune` and `status` report them.

    Returns:
        Whether there were blocks.
    """
    # Checked without the write lock first: nearly always there are no blocks.
    if not connection.execute(_ANY_BLOCK).fetchone():
        return False
    with transaction(connection):
        for number, node, data in _oldest_blocks(connection):
            try:
                found = unpacked(data, node)
            except BlockError:
                connection.execute("UPDATE blocks SET is_damaged = 1 WHERE id = ?", (number,))
            else:
                insert(connection, ((None, sighting) for sighting in found))
                connection.execute("DELETE FROM blocks WHERE id = ?", (number,))
    return True


def next_records(connection: sqlite3.Connection, after: int, limit: int) -> list[JournalRecord]:
    """Some records after a position; blocks become records once there are no others."""
    while True:
        found = list(records(connection, after=after, limit=limit))
        if found or not unpack(connection):
            return found


def count_after(connection: sqlite3.Connection, position: int) -> int:
    """How many records come after a position, those in blocks included."""
    with _one_view(connection):
        select = "SELECT count(*) FROM sightings WHERE id > ?"
        (rows,) = connection.execute(select, (position,)).fetchone()
        return int(rows) + sum(len(found or ()) for found in _read_blocks(connection))


def count_damaged(connection: sqlite3.Connection) -> int:
    """How many blocks cannot be read."""
    with _one_view(connection):
        if _schema(connection) < _SCHEMA_WITH_BLOCKS:
            return 0
        select = "SELECT count(*) FROM blocks WHERE is_damaged"
        (aside,) = connection.execute(select).fetchone()
        return int(aside) + sum(found is None for found in _read_blocks(connection))


def records(
    connection: sqlite3.Connection,
    *,
    after: int = 0,
    since: float = 0.0,
    incident: str | None = None,
    limit: int = _ALL,
) -> Iterator[JournalRecord]:
    """Rows in the order of their recording."""
    schema = _schema(connection)
    if schema == 0:  # another process is creating the file
        return
    select = _SELECT_1 if schema == 1 else _SELECT
    for found in connection.execute(select, (after, since, incident, incident, limit)):
        yield _record(found)


def sightings(
    connection: sqlite3.Connection, *, since: float = 0.0, incident: str | None = None
) -> Iterator[Sighting]:
    """Rows, then what blocks hold that can be read, each in the order of their recording."""
    with _one_view(connection):
        for record in records(connection, since=since, incident=incident):
            yield record.sighting
        if _schema(connection) < _SCHEMA_WITH_BLOCKS:
            return
        for found in _read_blocks(connection):
            for sighting in found or ():
                if sighting.time >= since and incident in (None, sighting.incident):
                    yield sighting


@contextlib.contextmanager
def _one_view(connection: sqlite3.Connection) -> Iterator[None]:
    """One snapshot of rows and blocks: a block that becomes rows between two queries would be
    missed, or counted twice."""
    connection.execute("BEGIN")
    try:
        yield
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _schema(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _oldest_blocks(connection: sqlite3.Connection) -> list[tuple[int, str, bytes]]:
    found, size = [], 0
    for block in connection.execute(f"{_BLOCKS} LIMIT {_MOST_BLOCKS}"):
        found.append(block)
        size += len(block[2])
        if size >= _MOST_BYTES:
            break
    return found


def _read_blocks(connection: sqlite3.Connection) -> Iterator[list[Sighting] | None]:
    for _, node, data in connection.execute(_BLOCKS):
        try:
            yield unpacked(data, node)
        except BlockError:
            yield None


def _row(sighting: Sighting, origin: str | None) -> tuple[float | str | None, ...]:
    return (
        sighting.time,
        sighting.incident,
        sighting.indicator_class,
        _encode(sighting.attributes).decode(),
        sighting.client,
        sighting.method,
        sighting.action,
        sighting.node,
        _encode(sighting.events).decode(),
        origin,
    )


def _record(
    columns: tuple[int, str | None, float, str, str, str, str, str, str, str, str],
) -> JournalRecord:
    position, origin, moment, incident, name, uuids, client, method, action, node, events = columns
    sighting = Sighting(
        time=moment,
        incident=incident,
        indicator_class=name,
        attributes=_decode(uuids),
        client=client,
        method=method,
        action=action,
        node=node,
        events=_decode(events),
    )
    # After a power cut a position may be used a second time, an incident's id never.
    return JournalRecord(position, origin or f"{incident}:{position}", sighting)


def drop_oldest(connection: sqlite3.Connection, most_bytes: int) -> int:
    """Delete the oldest blocks, then records, while they take more than so much of the file.

    The newest of each stays, so that no id is given again. The file keeps its size; what
    comes next is written where the old was.

    Returns:
        How many rows were deleted.
    """
    dropped = 0
    with short_log(connection):
        while used_bytes(connection) > most_bytes:
            with transaction(connection):
                count = sum(connection.execute(statement).rowcount for statement in _DROP_OLDEST)
            if count <= 0:
                break
            dropped += count
    return dropped


def used_bytes(connection: sqlite3.Connection) -> int:
    """What the records and the outbox take of the file; the rest will be used again."""
    size, pages, free = (
        connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("page_size", "page_count", "freelist_count")
    )
    return int(size) * (int(pages) - int(free))
