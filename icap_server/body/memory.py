"""What the decoders of all bodies together may keep in memory."""

from __future__ import annotations

import contextlib
import ctypes
import threading
from typing import Final

_STEP_BYTES: Final = 64 << 10
# mallopt(3): blocks of so many bytes go back to the system when they are freed, and the free
# end of a heap when it is so long.
_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD = -3, -1
# Just above the 4 MiB that a derivation of an address takes: memory that each one got anew and
# gave back would take more processor time than half the derivation. Just below the window that
# most of br have, of 4 MiB and half a KiB.
_BLOCK_BYTES: Final = (4 << 20) + 256
_END_BYTES: Final = 8 << 20


def give_large_blocks_back() -> None:
    """Keep no large window that was freed, for the rest of the process.

    glibc raises the first bound with each block that it frees, and keeps what is below it for
    each of many threads.
    """
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, _BLOCK_BYTES)
        mallopt(_M_TRIM_THRESHOLD, _END_BYTES)


class Memory:
    """Bytes that a process may spend on what decoders keep. For many threads.

    Args:
        size: bytes for all clients.
        of_client: bytes for one client, so that one cannot take from the others all of it.
    """

    def __init__(self, size: int, of_client: int) -> None:
        self._free = size
        self._of_client = of_client
        self._by_client: dict[bytes, int] = {}
        # What is given back may be so by the garbage collector, in the midst of `take`.
        self._lock = threading.RLock()

    def take(self, client: bytes, size: int) -> bool:
        """Whether there were so many bytes left; then they are taken.

        Args:
            client: as `client_of` tells it; those that nobody tells are not one client.
            size: bytes.
        """
        with self._lock:
            mine = self._by_client.get(client, 0) + size
            if size > self._free or (client and mine > self._of_client):
                return False
            self._free -= size
            self._by_client[client] = mine
            return True

    def give_back(self, client: bytes, size: int) -> None:
        """Undo as much of what was taken."""
        with self._lock:
            self._free += size
            self._by_client[client] -= size
            if not self._by_client[client]:
                del self._by_client[client]


class Taken:
    """What one decoder has of it. It is given back when nothing refers to this any more."""

    def __init__(self, memory: Memory, client: bytes) -> None:
        self._memory, self._client = memory, client
        self._size = 0

    def fit(self, size: int) -> bool:
        """Have as many bytes as a decoder keeps now; False if they are not there."""
        if size == self._size == 0:
            return True
        wanted = -(-size // _STEP_BYTES) * _STEP_BYTES
        more, missing = wanted - self._size, False
        if more > 0:
            missing = not self._memory.take(self._client, more)
        elif more < 0:
            self._memory.give_back(self._client, -more)
        if not missing:
            self._size = wanted
        return not missing

    def __del__(self) -> None:
        if self._size:
            self._memory.give_back(self._client, self._size)
