"""How much of bodies waits in memory for clients that take them slowly."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from inkgate.health.monitor import Monitor
    from inkgate.icap_server.connection import Connection

# One client at a standstill costs 64 KiB a second at least, so this is some minutes.
_MOST_OF_ONE: Final = 32 << 20


class Backlog:
    """The sum over all connections of a worker. For many threads.

    A proxy with a short `icap_io_timeout` must be able to write, or it breaks the message
    off. So what it writes is taken, also while the client of that message takes nothing.

    Args:
        limit: bytes of all connections together.
        monitor: is told when a download is given up.
    """

    def __init__(self, limit: int, monitor: Monitor) -> None:
        self._limit = limit
        self._monitor = monitor
        self._lock = threading.Lock()
        self._sizes: dict[Connection, int] = {}
        self._sum = 0

    def note(self, connection: Connection, size: int) -> None:
        """Say how many bytes wait for a connection's client."""
        if not size and connection not in self._sizes:
            return
        with self._lock:
            self._sum += size - self._sizes.get(connection, 0)
            self._sizes[connection] = size

    def forget(self, connection: Connection) -> None:
        """Nothing waits for this one any more."""
        with self._lock:
            self._sum -= self._sizes.pop(connection, 0)

    def has_room(self, size: int) -> bool:
        """Whether more may wait for a connection for which so much waits already."""
        if self._sum < self._limit and size < _MOST_OF_ONE:
            return True
        self._monitor.met(
            "download-given-up",
            "what waits for slow clients is more than [icap] backlog_mib, or 32 MiB for one",
        )
        return False
