"""Chunked bodies, as ICAP has them (RFC 2616, section 3.6.1; RFC 3507, section 4.5)."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from inkgate.icap_server.protocol.errors import ProtocolError

MAX_LINE_BYTES: Final = 1024
MAX_TRAILER_BYTES: Final = 16 * 1024
LAST_CHUNK: Final = b"0\r\n\r\n"
# Sizes up to 2^60 - 1. A size is only counted down; no memory is allocated for it.
_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*((?:;[^\r\n\0]*)?)")
_IEOF: Final = re.compile(rb";[ \t]*ieof[ \t]*(?:;|$)", re.IGNORECASE)


class End(NamedTuple):
    """The end of a body, or of its preview.

    Attributes:
        ieof: the preview was the whole body.
    """

    ieof: bool


class ChunkReader:
    """Takes chunks out of a buffer, in pieces of whatever has arrived.

    Holds no data of its own, so a chunk of any size costs nothing but counting.
    """

    def __init__(self) -> None:
        self._left = 0
        self._step = self._size
        self._ieof = False
        self._trailer_bytes = 0

    def next(self, buffer: bytearray) -> bytes | End | None:
        """The next piece of the body; None when more input is needed.

        Raises:
            ProtocolError: 400, the framing is wrong.
        """
        while True:
            done = self._step(buffer)
            if done is not _AGAIN:
                return done

    def _size(self, buffer: bytearray) -> bytes | End | None:
        line = _take_line(buffer, MAX_LINE_BYTES)
        if line is None:
            return None
        found = _SIZE.fullmatch(line)
        if found is None:
            raise ProtocolError(400, "not a chunk size")
        self._left = int(found[1], 16)
        if self._left:
            self._step = self._data
        else:
            self._ieof = bool(_IEOF.search(found[2]))
            self._step = self._trailer
        return _AGAIN

    def _data(self, buffer: bytearray) -> bytes | End | None:
        if not buffer:
            return None
        piece = bytes(buffer[: self._left])
        del buffer[: self._left]
        self._left -= len(piece)
        if not self._left:
            self._step = self._data_end
        return piece

    def _data_end(self, buffer: bytearray) -> bytes | End | None:
        if len(buffer) < 2:
            return None
        if buffer[:2] != b"\r\n":
            raise ProtocolError(400, "a chunk is not as long as it says")
        del buffer[:2]
        self._step = self._size
        return _AGAIN

    def _trailer(self, buffer: bytearray) -> bytes | End | None:
        line = _take_line(buffer, MAX_TRAILER_BYTES)
        if line is None:
            return None
        if not line:
            return End(self._ieof)
        self._trailer_bytes += len(line)
        if self._trailer_bytes > MAX_TRAILER_BYTES or b":" not in line:
            raise ProtocolError(400, "not a trailer")
        return _AGAIN


# Returned by a step that has consumed input and has no piece of the body to return.
# Compared by identity.
_AGAIN: Final = bytes(bytearray(b"again"))


def encode_chunk(data: bytes) -> bytes:
    """One chunk. Empty data would be the end of the body, so it gives nothing."""
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""


def _take_line(buffer: bytearray, limit: int) -> bytes | None:
    end = buffer.find(b"\r\n", 0, limit + 2)
    if end < 0:
        if len(buffer) > limit:
            raise ProtocolError(400, "a line of the body's framing is too long")
        return None
    line = bytes(buffer[:end])
    del buffer[: end + 2]
    return line
