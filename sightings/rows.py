"""Records as SQLite takes them: many in one statement, made of few Python objects.

Every request that matches pays for this, so it is done once, where the match is.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Final

import msgspec

COLUMNS: Final = "time, incident, class, attributes, client, method, action, node"
# Those, events and origin.
Row = tuple[float, str, str, str, str, str, str, str, str, str | None]
Statement = tuple[str, list[str | float | None]]

_WIDTH: Final = 10
_MOST_ROWS: Final = 1 << 11
_encode: Final = msgspec.json.Encoder().encode


def row(
    time: float,
    incident: str,
    indicator_class: str,
    attributes: tuple[str, ...],
    client: str,
    method: str,
    action: str,
    node: str,
    events: tuple[str, ...],
    origin: str | None = None,
) -> Row:
    """A record; for the arguments see `journal.Sighting` and `journal.Record`.

    Raises:
        UnicodeEncodeError: an attribute or event is nothing that UTF-8 can hold.
    """
    return (
        time,
        incident,
        indicator_class,
        _encode(attributes).decode(),
        client,
        method,
        action,
        node,
        _encode(events).decode(),
        origin,
    )


def repaired(one: Row) -> Row:
    """A copy that UTF-8 can hold: bytes of a request that no decoder took become `?`."""
    time, *texts, origin = one
    return (time, *(text.encode("utf-8", "replace").decode() for text in texts), origin)  # type: ignore[return-value]


def inserts(rows: Sequence[Row]) -> list[Statement]:
    """Statements that insert the rows, with their values."""
    return [_insert(rows[n : n + _MOST_ROWS]) for n in range(0, len(rows), _MOST_ROWS)]


def _insert(rows: Sequence[Row]) -> Statement:
    # One statement for all rows: the interpreter's lock changes hands only a few times,
    # and the threads that answer requests want it. Sizes are powers of two, so that few
    # statements need be prepared.
    size = 1 << (len(rows) - 1).bit_length()
    values: list[str | float | None] = []
    for one in rows:
        values += one
    values += [None] * (_WIDTH * (size - len(rows)))
    return _statement(size), values


@functools.cache
def _statement(size: int) -> str:
    one = f"({', '.join('?' * _WIDTH)})"
    return (
        f"INSERT OR IGNORE INTO sightings ({COLUMNS}, events, origin) "  # noqa: S608 (our own words)
        f"SELECT * FROM (VALUES {', '.join([one] * size)}) WHERE column1 IS NOT NULL"
    )
