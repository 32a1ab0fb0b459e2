"""Dated lines on standard error, for processes that run for long."""

from __future__ import annotations

import os
import time
from typing import Final

from inkgate.config.printable import Log, printable, write_line

_SECONDS: Final = "%Y-%m-%dT%H:%M:%S+00:00"


def dated_log(program: str) -> Log:
    """A log on standard error, which Squid appends to its cache.log.

    Each line has the date (UTC, RFC 3339), the program with its process id, and a text.

    Args:
        program: the command.
    """

    def log(text: str) -> None:
        now = time.strftime(_SECONDS, time.gmtime())
        line = f"{now} {program}[{os.getpid()}]: {printable(text)}"
        write_line(line)

    return log
