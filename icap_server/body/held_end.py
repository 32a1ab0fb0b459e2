"""How much of a body may go on before its verdict is known."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

# Smaller pieces are put together: each costs memory of its own.
_PIECE_BYTES: Final = 4096


class HeldEnd:
    """Keeps the last bytes of a body back, and lets older ones go on to the client.

    A body of at most `size` bytes is kept whole. Of a longer one the last `size` bytes
    are kept until its verdict is known. A reading may be at its end long before the body: what
    follows may decode to nothing, at one layer of its encodings or at all. So before the last
    bytes of any reading go on, it is asked whether that is listed. So it is before the last
    bytes of all: the body as it was sent is a reading.

    Args:
        size: how many bytes to keep at least, once so many have come; it may be one piece
            more.
        unasked_from: the first byte of the body behind which some reading has not grown, of
            those that have grown since `is_listed` was asked.
        is_listed: whether what came so far is listed, in any reading.

    Attributes:
        held: how many bytes are here.
    """

    def __init__(
        self, size: int, unasked_from: Callable[[], float], is_listed: Callable[[], bool]
    ) -> None:
        self._size = size
        self._unasked_from = unasked_from
        self._is_listed = is_listed
        self._pieces: deque[bytearray] = deque()
        self.held = self._gone = 0

    def keep(self, data: bytes) -> None:
        """Take some data, as it was sent, and let nothing go."""
        self.held += len(data)
        last = self._pieces[-1] if self._pieces else None
        if last is None or len(last) + len(data) > _PIECE_BYTES:
            self._pieces.append(bytearray(data))
        else:
            last += data

    def release(self) -> tuple[bytes, bool]:
        """What may go on now, and whether a verdict was found, so that nothing may."""
        free = []
        unasked_from = None
        while self._pieces and self.held - len(self._pieces[0]) >= self._size:
            piece = self._pieces.popleft()
            self.held -= len(piece)
            self._gone += len(piece)
            if unasked_from is None:
                unasked_from = self._unasked_from()
            if unasked_from <= self._gone:
                if self._is_listed():
                    return b"", True
                unasked_from = None
            free.append(piece)
        return b"".join(free), False

    def rest(self) -> bytes:
        """What was held, once its verdict is known."""
        pieces, self._pieces = self._pieces, deque()
        self._gone += self.held
        self.held = 0
        return b"".join(pieces)
