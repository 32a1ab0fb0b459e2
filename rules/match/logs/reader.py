"""What reads a log: lines in, entries out, without any I/O."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from inkgate.rules.match.logs.clean_log_parts import CleanLogParts
from inkgate.rules.match.logs.entry import Entry

NumberedEntries = Iterator[tuple[int, Entry | None]]
"""Line numbers from 0, and entries; None for a line that cannot be read."""


class Reader(Protocol):
    """A log format."""

    def entry(self, line: str) -> Entry | None:
        """What one line shows; None if it is not of this format. Never raises."""

    def entries_to_look_up(self, text: str, clean: CleanLogParts) -> NumberedEntries:
        """Entries of all lines but those that are known to be clean. Never raises."""
