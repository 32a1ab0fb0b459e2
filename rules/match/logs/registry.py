"""Which log it is: as the user says, or as its first lines look."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Final

from inkgate.rules.match.logs.json_log import JsonLog
from inkgate.rules.match.logs.reader import Reader
from inkgate.rules.match.logs.squid_log import SquidLog
from inkgate.rules.match.logs.zeek_log import FIELDS, ZeekLog

AUTO: Final = "auto"
JSON: Final = "json"
ZEEK: Final = "zeek"
_SQUID: Final = ("squid", "combined", "common")
_MAX_LOOK: Final = 100


def open_reader(name: str, header: str = "") -> Reader:
    """A reader of a format: `json`, `zeek`, one of Squid's by name, or a logformat.

    Args:
        header: for `zeek`, the `#fields` line that counts so far.

    Raises:
        FormatError: it is no format.
    """
    if name == ZEEK:
        return ZeekLog(header)
    return _stateless(name)


@functools.lru_cache(maxsize=16)
def _stateless(name: str) -> Reader:
    return JsonLog() if name == JSON else SquidLog(name)


def guess(lines: Iterable[str]) -> str | None:
    """The format of the first line that tells."""
    for _, line in zip(range(_MAX_LOOK), lines, strict=False):
        if line.startswith(("#separator", FIELDS)):
            return ZEEK
        if line.lstrip().startswith("{") and _stateless(JSON).entry(line) is not None:
            return JSON
        if line.startswith("#"):
            continue
        for name in _SQUID:
            if line and _stateless(name).entry(line) is not None:
                return name
    return None
