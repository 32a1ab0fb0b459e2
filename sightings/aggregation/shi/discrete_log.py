"""Bounded discrete logarithms by baby-step giant-step (Shanks).

Totals are small, so most are found in the table at once; the largest take 257 steps, which
bounds what a subscriber who submits nonsense can cost (about 1 ms for an indicator).
"""

from __future__ import annotations

from functools import cache
from typing import Final

from inkgate.sightings.aggregation.shi.curve import Point, add_points, base_times

_BABY: Final = 1 << 16
_NAME_BYTES: Final = (
    17  # the parity of y, which distinguishes a point from its negative, and half of x
)


@cache
def _table() -> dict[bytes, int]:
    base = base_times(1)
    table = {}
    point: Point = base
    for exponent in range(1, _BABY + 1):
        table[_name(point)] = exponent
        point = add_points((point, base))
    return table


@cache
def _giant() -> Point:
    return base_times(-_BABY)


def _name(point: Point) -> bytes:
    name: bytes = point.format(True)[:_NAME_BYTES]
    return name


def logarithm(point: Point, highest: int) -> int | None:
    """The exponent of a point between 1 and `highest`, else None."""
    table = _table()
    back = _giant()
    for done in range(0, highest, _BABY):
        exponent = table.get(_name(point))
        if exponent is not None:
            return done + exponent if done + exponent <= highest else None
        point = add_points((point, back))
        if point is None:
            return None
    return None
