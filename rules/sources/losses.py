"""When too much is gone at once to be believed."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from inkgate.config.errors import Unreadable

_PARTS: Final = 2
_REMEDY: Final = "its last good reading counts; if it is right, use --allow-empty once"


def check_loss(place: Path, had: int, has: int, *, may_be_empty: bool) -> None:
    """See that a source has not lost more than half of its events since the last reading.

    A server that was set up anew, a proxy's error page or a job that broke off often leave
    a list that is sound and nearly empty.

    Args:
        place: names the source.
        had, has: events at the last reading, and now.
        may_be_empty: whether somebody has said that this is right.

    Raises:
        Unreadable: it has.
    """
    if not may_be_empty and has * _PARTS < had:
        raise Unreadable(place, None, f"had {had} events and has {has}", _REMEDY)
