"""The table of log formats, and which of them a log has.

To add a format, write its module and give it a line in `FORMATS`. Nothing else in the
program names a format.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from inkgate.rules.match.logs import json_log, squid_log, zeek_log
from inkgate.rules.match.logs.log_format import LogFormat
from inkgate.rules.match.logs.reader import Reader

AUTO: Final = "auto"
"""Given as a format: to be seen from the log's first lines."""
FORMATS: Final[tuple[LogFormat, ...]] = (
    json_log.JSON,
    zeek_log.ZEEK,
    squid_log.SQUID,
    squid_log.COMMON,
    squid_log.COMBINED,
)
DESCRIBED: Final = squid_log.LOGFORMAT
"""The format of what `--format` is given besides names: a description of the lines."""
BLANK: Final = squid_log.SQUID.name
"""The format that lines of white space are read in while no other line has come."""

_MAX_LINES: Final = 100
_BY_NAME: Final = {entry.name: entry for entry in FORMATS}


def open_reader(text: str, header: str = "") -> Reader:
    """A reader of a format.

    Args:
        text: the format's name, or a description of the lines.
        header: the header line that holds so far, in formats that have one.

    Raises:
        FormatError: the description cannot be read.
    """
    return _format(text).open_reader(text, header)


def last_header(text: str, lines: bytes, before: bytes) -> bytes:
    """The header line that holds after some lines of a format; empty in one without headers.

    Args:
        text: the format's name, or a description of the lines.
        lines: whole lines.
        before: the header line that holds where they begin.
    """
    return _format(text).last_header(lines, before)


def guess(lines: Iterable[str]) -> str | None:
    """The name of the format that the first lines of a log show; None if they show none."""
    for _, line in zip(range(_MAX_LINES), lines, strict=False):
        for entry in FORMATS:
            if entry.recognises(line):
                return entry.name
    return None


def choices() -> str:
    """What `--format` takes, for people."""
    return f"{', '.join(_BY_NAME)} or {DESCRIBED.name}"


def _format(text: str) -> LogFormat:
    return _BY_NAME.get(text, DESCRIBED)
