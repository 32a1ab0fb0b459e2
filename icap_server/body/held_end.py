"""How much of a body may go on before its verdict is known."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

# Smaller pieces are put together: each costs memory of its own.
_PIECE_BYTES: Final = 4096


class _Piece:
    """Some data as it was sent, and how many bytes of content it decoded to."""

    __slots__ = ("content", "data")

    def __init__(self, data: bytes, content: int) -> None:
        self.data = bytearray(data)
        self.content = content


class HeldEnd:
    """Keeps the last bytes of a body back, and lets older ones go on to the client.

    A body of at most `size` bytes is kept whole. Of a longer one the last `size` bytes
    are kept until its verdict is known. The last bytes that decode to content are always
    among them: else an encoded body that ends in many bytes without content would have
    reached the client whole before its verdict. So are the last bytes of all: what decodes to
    nothing, as under a name of an encoding that nobody knows, is still the body as it was sent.

    Args:
        size: how many bytes to keep at least, once so many have come; it may be one piece
            more.
        is_listed: whether the content so far is listed; asked before the last kept
            content goes on.

    Attributes:
        held: how many bytes are here.
    """

    def __init__(self, size: int, is_listed: Callable[[], bool]) -> None:
        self._size = size
        self._is_listed = is_listed
        self._pieces: deque[_Piece] = deque()
        self.held = self._content = 0

    def keep(self, data: bytes, content: int) -> None:
        """Take some data and let nothing go.

        Args:
            data: as it was sent.
            content: bytes of content that it decoded to.
        """
        self.held += len(data)
        self._content += content
        last = self._pieces[-1] if self._pieces else None
        if last is None or len(last.data) + len(data) > _PIECE_BYTES:
            self._pieces.append(_Piece(data, content))
        else:
            last.data += data
            last.content += content

    def release(self) -> tuple[bytes, bool]:
        """What may go on now, and whether a verdict was found, so that nothing may."""
        free = []
        while self._pieces and self.held - len(self._pieces[0].data) >= self._size:
            piece = self._pieces.popleft()
            self.held -= len(piece.data)
            self._content -= piece.content
            is_last = (piece.content and not self._content) or not self._pieces
            if is_last and self._is_listed():
                return b"", True
            free.append(piece.data)
        return b"".join(free), False

    def rest(self) -> bytes:
        """What was held, once its verdict is known."""
        pieces, self._pieces = self._pieces, deque()
        self.held = self._content = 0
        return b"".join(piece.data for piece in pieces)
