"""When too much is gone at once to be believed."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from inkgate.config.errors import Unreadable

_PARTS: Final = 2
_REMEDY: Final = "its last good reading counts; if it is right, use --allow-empty once"


def check_loss(
    place: Path, had: int, has: int, *, may_be_empty: bool, what: str = "events"
) -> None:
    """See that a source has not lost more than half of what it had at the last reading.

    A server that was set up anew, a proxy's error page or a job that broke off often leave
    a list that is sound and nearly empty, a lost mount an empty folder.

    Args:
        place: names the source.
        had, has: how many there were at the last reading, and are now.
        may_be_empty: whether somebody has said that this is right.
        what: of which there were so many.

    Raises:
        Unreadable: it has.
    """
    if not may_be_empty and has * _PARTS < had:
        raise Unreadable(place, None, f"had {had} {what} and has {has}", _REMEDY)
