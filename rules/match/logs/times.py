"""The time of a log line, in the ways in which logs write it."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from typing import Final

_EPOCH: Final = re.compile(r"[0-9]{1,13}(?:\.[0-9]{1,9})?", re.ASCII)
_MAX_TEXT: Final = 64
# A number of seconds above this would be after the year 5138, so it is taken as
# milliseconds.
_MILLISECONDS: Final = 1e11
# Formats of strftime(3): those of Squid's and Apache's %tl, and of Squid's %tg.
_FORMATS: Final = ("%d/%b/%Y:%H:%M:%S %z", "%d/%b/%Y:%H:%M:%S")


def parse_time(text: str) -> float | None:
    """Seconds since 1970 of an epoch time, ISO 8601 or `10/Oct/2026:13:55:36 -0700`.

    A time without a zone is UTC. None if it is none of these.
    """
    text = text.strip(' []"')
    if len(text) > _MAX_TEXT:
        return None
    if _EPOCH.fullmatch(text):
        seconds = float(text)
        return seconds / 1000 if seconds >= _MILLISECONDS else seconds
    moment = _moment(text)
    if moment is None:
        return None
    try:
        seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (OverflowError, ValueError):
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None


def _moment(text: str) -> datetime | None:
    for form in _FORMATS:
        try:
            return datetime.strptime(text, form)  # noqa: DTZ007 (without a zone it is UTC)
        except ValueError:
            continue
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None
