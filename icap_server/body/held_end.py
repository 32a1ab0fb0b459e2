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
    """Holds the end of a stream back; what goes beyond its size is let go, oldest first.

    A small body is held whole. Of a long one the last `size` bytes stay here until its
    verdict is known, and among them always the last content: an encoded body may end
    in data that decodes to nothing, behind which all of the file would have gone.

    Args:
        size: bytes held at least, once that many have come; at most one piece more.
        is_listed: whether the content so far is listed; asked before the last of it
            is let go.

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
            if piece.content and not self._content and self._is_listed():
                return b"", True
            free.append(piece.data)
        return b"".join(free), False

    def rest(self) -> bytes:
        """What was held, once its verdict is known."""
        pieces, self._pieces = self._pieces, deque()
        self.held = self._content = 0
        return b"".join(piece.data for piece in pieces)
