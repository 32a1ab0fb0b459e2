"""The way to Squid."""

from __future__ import annotations

import select
from os import write


class Answers:
    """The only way to Squid: whole lines, from the main loop's thread only."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def write(self, data: bytes) -> None:
        """Write all of it; wait while Squid does not read.

        Raises:
            OSError: Squid is gone.
        """
        while True:
            try:
                written = write(self._fd, data)
                if written == len(data):
                    return
                data = data[written:]
            except BlockingIOError:
                # Squid gives one socket for both directions, so it may be the
                # reading side that made it non-blocking.
                select.select([], [self._fd], [])
