"""A log format as the table in registry.py has it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from inkgate.rules.match.logs.reader import Reader


class FormatError(ValueError):
    """The format of a log is not recognised, or its description cannot be read."""


class LogFormat(NamedTuple):
    """One log format.

    Attributes:
        name: as `--format` takes it.
        recognises: whether a line, one of a log's first, shows that the log has this
            format; no line may show two formats of the table.
        open_reader: makes a reader. Takes what `--format` was given, and the header line
            that holds where the text begins (empty if there was none yet).
        last_header: the header line that holds after some text, from the text and the
            line that held before it; `no_header` if each line explains itself.
    """

    name: str
    recognises: Callable[[str], bool]
    open_reader: Callable[[str, str], Reader]
    last_header: Callable[[bytes, bytes], bytes]


def no_header(text: bytes, before: bytes) -> bytes:  # noqa: ARG001 (as `last_header` is called)
    """For formats without header lines."""
    return b""
