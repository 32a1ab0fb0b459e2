"""Answers on their way to Squid."""

from __future__ import annotations

import select
from os import write


class Answers:
    """Writes answers: whole lines, from the main loop's thread only.

    Args:
        fd: the helper's end of what Squid reads.
    """

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
                # Squid gives a helper one socket for both directions. Where the reading
                # side was made non-blocking (`_stop_reading`), writing is as well.
                select.select([], [self._fd], [])
