"""PyMySQL's connection, bounded. Importing this imports PyMySQL: see `mysql_session`."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any, Final

from pymysql.connections import Connection

from inkgate.remote.deadline import Deadline
from inkgate.remote.errors import TooLargeError

if TYPE_CHECKING:
    from pymysql.cursors import Cursor

    class _Connection(Connection[Cursor]):
        """With what its type stubs leave out."""

        _sock: socket.socket | None

        def _force_close(self) -> None: ...
        def _read_bytes(self, num_bytes: int) -> bytes: ...

else:
    _Connection = Connection

MAX_BYTES: Final = 128 << 20
"""Of all that one statement finds."""


class BoundedConnection(_Connection):
    """A connection that ends at a deadline, and takes so much for one statement.

    Args:
        deadline: until when it may last.
        options: as PyMySQL has them.
    """

    def __init__(self, deadline: Deadline, **options: Any) -> None:
        self._deadline = deadline
        self.allow()
        super().__init__(**options)

    def allow(self) -> None:
        """Begin to count anew: another statement."""
        self._rest = MAX_BYTES

    def _read_bytes(self, num_bytes: int) -> bytes:
        # TLS takes the first socket's place, so the one that is there now is named each time.
        if isinstance(self._sock, socket.socket):
            self._deadline.watch(self._sock)
        self._deadline.check()
        self._rest -= num_bytes
        if self._rest < 0:
            self._force_close()
            raise TooLargeError(f"gives more than {MAX_BYTES >> 20} MiB for one statement")
        return super()._read_bytes(num_bytes)
