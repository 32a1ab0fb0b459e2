"""The records in a journal's file, whatever its schema, and the blocks before them.

Whoever answers requests writes blocks; whoever works on the records turns the blocks
into rows first, which gives each its position.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from sightings.block import BlockError, unpacked
from sightings.database import transaction
from sightings.sighting import Sighting

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
_ALL: Final = -1
_SCHEMA_WITH_BLOCKS: Final = 4
# Blocks that become rows in one transaction: whoever writes the next one waits for it.
_BLOCKS_AT_ONCE: Final = 8
_PAUSE_SECONDS: Final = 0.005
_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(tuple[str, ...]).decode


class Record(msgspec.Struct, frozen=True):
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
    connection.execute("INSERT INTO blocks (node, data) VALUES (?, ?)", (node, data))


def unpack(connection: sqlite3.Connection) -> None:
    """Turn the blocks there are into rows, some in each transaction.

    Raises:
        BlockError: one is damaged; it and those after it stay blocks.
    """
    # Asked without the lock first: there is nearly always nothing to do.
    while connection.execute("SELECT 1 FROM blocks LIMIT 1").fetchone():
        with transaction(connection):
            blocks = list(_blocks(connection, _BLOCKS_AT_ONCE))
            for _, sightings in blocks:
                insert(connection, ((None, sighting) for sighting in sightings))
            connection.executemany("DELETE FROM blocks WHERE id = ?", [(b[0],) for b in blocks])
        # Whoever records a match gets the lock in between.
        time.sleep(_PAUSE_SECONDS)


def records(
    connection: sqlite3.Connection,
    *,
    after: int = 0,
    since: float = 0.0,
    incident: str | None = None,
    limit: int = _ALL,
) -> Iterator[Record]:
    """Rows in the order of their recording."""
    schema = _schema(connection)
    if schema == 0:  # somebody is just making the file
        return
    select = _SELECT_1 if schema == 1 else _SELECT
    for found in connection.execute(select, (after, since, incident, incident, limit)):
        yield _record(found)


def sightings(
    connection: sqlite3.Connection, *, since: float = 0.0, incident: str | None = None
) -> Iterator[Sighting]:
    """Rows and what the blocks after them hold, in the order of their recording.

    Raises:
        BlockError: a block is damaged.
    """
    # One view of both, or what becomes a row between two looks would not be seen.
    connection.execute("BEGIN")
    for record in records(connection, since=since, incident=incident):
        yield record.sighting
    if _schema(connection) < _SCHEMA_WITH_BLOCKS:
        return
    for _, block in _blocks(connection, _ALL):
        for sighting in block:
            if sighting.time >= since and incident in (None, sighting.incident):
                yield sighting


def _schema(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _blocks(connection: sqlite3.Connection, limit: int) -> Iterator[tuple[int, Iterator[Sighting]]]:
    select = "SELECT id, node, data FROM blocks ORDER BY id LIMIT ?"
    for number, node, data in connection.execute(select, (limit,)):
        yield number, _named(number, unpacked(data, node))


def _named(number: int, sightings: Iterator[Sighting]) -> Iterator[Sighting]:
    try:
        yield from sightings
    except BlockError as error:
        raise BlockError(f"block {number}: {error}") from None


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
) -> Record:
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
    # A position can be used again after a power cut, an incident's id can not.
    return Record(position, origin or f"{incident}:{position}", sighting)
