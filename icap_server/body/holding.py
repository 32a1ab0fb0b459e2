"""How much of a body may go on before its verdict is known."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable


class Holding:
    """Holds the end of a stream back; what goes beyond its size is let go, oldest first.

    A small body is held whole. Of a long one the last `size` bytes stay here until its
    verdict is known, and among them always the last content: an encoded body may end
    in data that decodes to nothing, behind which all of the file would have gone.

    Args:
        size: bytes held at least, once that many have come; at most one piece more.
        is_listed: whether the content so far is listed; asked before the last of it
            is let go.
    """

    def __init__(self, size: int, is_listed: Callable[[], bool]) -> None:
        self._size = size
        self._is_listed = is_listed
        self._pieces: deque[tuple[bytes, int]] = deque()
        self._bytes = self._content = 0

    def put(self, data: bytes, content: int) -> tuple[bytes, bool]:
        """Take some data; returns what may go on, and whether a verdict was found.

        Args:
            data: as it was sent.
            content: bytes of content that it decoded to.
        """
        self._pieces.append((data, content))
        self._bytes += len(data)
        self._content += content
        free = []
        while self._bytes - len(self._pieces[0][0]) >= self._size:
            piece, held = self._pieces.popleft()
            self._bytes -= len(piece)
            self._content -= held
            if held and not self._content and self._is_listed():
                return b"", True
            free.append(piece)
        return b"".join(free), False

    def rest(self) -> bytes:
        """What was held, once its verdict is known."""
        pieces, self._pieces = self._pieces, deque()
        self._bytes = self._content = 0
        return b"".join(piece for piece, _ in pieces)
