"""What a line of a list says, and what a dialect of lists is made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

Value = tuple[str, str]
"""A type of MISP, or an empty text where only the sealing can tell, and a value."""


class Line(NamedTuple):
    """What one line says. Exactly one of the attributes is set.

    Attributes:
        values: what it lists.
        refused: why it cannot be understood: a fixed phrase, never with text of the line.
        skipped: why it lists nothing, though it is understood.
    """

    values: tuple[Value, ...] = ()
    refused: str = ""
    skipped: str = ""


REMARK: Final = Line(skipped="remark or blank")
EXCEPTION: Final = Line(skipped="exception of a list")
OWN_NAME: Final = Line(skipped="own name of a machine")


class Dialect(NamedTuple):
    """A dialect, as its module declares it for `registry`.

    Attributes:
        name: for the settings (`format`) and for people.
        parse: what a line says that is neither blank nor begins with a remark's sign; None
            if it is no line of this dialect.
        remarks: what begins a line that is a remark.
        marks: a line of it marks the whole file as of this dialect; otherwise most of the
            first lines must be of it.
        fresh: a `parse` for the lines of one file in their order, where one line counts for
            those below it.
    """

    name: str
    parse: Callable[[str], Line | None]
    remarks: tuple[str, ...] = ("#", ";", "//", "!")
    marks: Callable[[str], bool] = lambda _: False
    fresh: Callable[[], Callable[[str], Line | None]] | None = None

    def for_file(self) -> Dialect:
        """The dialect for the lines of one file, from the first to the last."""
        return self._replace(parse=self.fresh()) if self.fresh else self


def listed(misp_type: str, *values: str) -> Line:
    """A line that lists values of one type."""
    return Line(tuple((misp_type, value) for value in values))


def refused(reason: str) -> Line:
    """A line that is refused."""
    return Line(refused=reason)
