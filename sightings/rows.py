"""Records as SQLite takes them: many in one statement, made of few Python objects.

Every request that matches pays for this, so it is done once, where the match is.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from itertools import chain
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


def inserts(rows: Sequence[Row]) -> Iterator[Statement]:
    """Statements that insert the rows, with their values.

    Each takes a power of two of rows, so that few different ones need be prepared, and
    each takes many: at every statement the interpreter's lock changes hands, and the
    threads that answer requests want it.
    """
    done = 0
    while left := len(rows) - done:
        size = min(_MOST_ROWS, 1 << (left.bit_length() - 1))
        yield _statement(size), [*chain.from_iterable(rows[done : done + size])]
        done += size


@functools.cache
def _statement(size: int) -> str:
    one = f"({', '.join('?' * _WIDTH)})"
    return (
        f"INSERT OR IGNORE INTO sightings ({COLUMNS}, events, origin) "  # noqa: S608 (our own words)
        f"VALUES {', '.join([one] * size)}"
    )
