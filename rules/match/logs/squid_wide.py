"""Lines in which a value holds what ends it, read from both ends of the line.

Squid writes some values as the client sent them: a User-Agent with `"` between quotes. A
pattern that reads from the left ends such a value too early, and then fits no more. What
stands before the value is known from the left, what stands behind it from the right.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

# Readings of one line at most.
_MOST: Final = 6
# What Squid's own formats end with, `%Ss:%Sh`; an operator may have added more behind it.
# Places looked at from the beginning of a line, and so many from its end.
_CUTS: Final = 3
_STATUS: Final = re.compile(r"\ [A-Z_]++:[A-Z_]++(?=\ )")


class WidePiece(NamedTuple):
    """A code of a logformat, and what stands before it.

    Attributes:
        literal: the text before the value.
        name: what its value is called; empty if nothing is done with it.
        pattern: of its value from the left; empty behind the last code.
        from_right: of its value backwards.
        is_free: whether a client writes what it likes into it.
        padded: whether spaces may stand before it.
        behind: pattern of the spaces that may stand behind it.
    """

    literal: str
    name: str
    pattern: str
    from_right: str
    is_free: bool
    padded: bool
    behind: str = ""


class WideField:
    """Reads lines whose values from one piece to another hold what ends them.

    Args:
        pieces: of the whole format.
        first, last: positions of these pieces; one piece, or two that are neighbours.
    """

    def __init__(self, pieces: Sequence[WidePiece], first: int, last: int) -> None:
        before, after = pieces[:first], pieces[last + 1 :]
        opening = pieces[first]
        head = "".join(
            _literal(piece) + _group(piece, piece.pattern) + piece.behind for piece in before
        )
        self._before = re.compile(head + _literal(opening))
        tail = "".join(
            # Backwards, the space that the next literal has was read already.
            (r"\ *+" if piece.behind else "")
            + _group(piece, piece.from_right)
            + (r"\ *+" if piece.padded else "")
            + re.escape(piece.literal[::-1])
            for piece in reversed(after)
        )
        self._after = re.compile(r"\r?" + tail)
        self._names = [piece.name for piece in pieces[first : last + 1]]
        self._between = pieces[last].literal if last > first else ""

    def readings(self, line: str) -> Iterator[Mapping[str, str]]:
        """The values of a line by their names."""
        before, after = self._before.match(line), self._after.match(line[::-1])
        if before is None or after is None:
            return
        middle = line[before.end() : len(line) - after.end()]
        if before.end() + after.end() > len(line):
            return
        known = before.groupdict("")
        known |= {name: text[::-1] for name, text in after.groupdict("").items()}
        for values in self._split(middle):
            yield known | {
                name: text for name, text in zip(self._names, values, strict=True) if name
            }

    def _split(self, middle: str) -> list[list[str]]:
        if not self._between:
            return [[middle]]
        if self._between not in middle:
            return []
        return [middle.split(self._between, 1), middle.rsplit(self._between, 1)]


def wide_fields(pieces: Sequence[WidePiece]) -> tuple[WideField, ...]:
    """All of a format: of each value that clients write, then of two that are neighbours."""
    free = [position for position, piece in enumerate(pieces) if piece.is_free]
    alone = (WideField(pieces, position, position) for position in free)
    both = (WideField(pieces, position, position + 1) for position in free if position + 1 in free)
    return (*alone, *both)


def wide_readings(fields: Sequence[WideField], line: str) -> list[Mapping[str, str]]:
    """The readings of a line, the likeliest first; none if it is not of the format."""
    found: list[Mapping[str, str]] = []
    for field in fields:
        found += (reading for reading in field.readings(line) if reading not in found)
        if len(found) >= _MOST:
            break
    return found[:_MOST]


def shortened(line: str) -> list[str]:
    """A line without what may have been added behind `%Ss:%Sh`.

    That, and what a client sent, may look like it, too.
    """
    ends = [found.end() for found in _STATUS.finditer(line)]
    return [line[:end] for end in dict.fromkeys((*ends[:_CUTS], *ends[-_CUTS:]))]


def _literal(piece: WidePiece) -> str:
    return re.escape(piece.literal) + (r"\ *+" if piece.padded else "")


def _group(piece: WidePiece, pattern: str) -> str:
    return f"(?P<{piece.name}>{pattern})" if piece.name and pattern else pattern
