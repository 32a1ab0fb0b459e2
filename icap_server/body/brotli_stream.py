"""br, decoded once, with what stands before the end or before damage (RFC 7932).

The package `brotli` gives nothing of what a call decoded if that call fails, and it fails at
bytes behind the end as well. The library inside it gives both, so its functions are called
as they are (brotli/decode.h).
"""

from __future__ import annotations

import ctypes
import importlib.util
from collections.abc import Callable, Iterator
from typing import Final

from inkgate.icap_server.body.inflate import PIECE_BYTES, DecodingError

# A call that finds damage gives nothing of what it decoded before, so each call gets little.
_STEP_BYTES: Final = 256
# Of a body up to this length, the input is kept: it is decoded again, byte by byte at last.
_AGAIN_BYTES: Final = 256 * 1024
_ERROR, _SUCCESS, _WANTS_ROOM = 0, 1, 3


def _library() -> ctypes.CDLL:
    found = importlib.util.find_spec("_brotli")
    library = ctypes.CDLL(found.origin if found else None)
    pointer, size = ctypes.c_void_p, ctypes.POINTER(ctypes.c_size_t)
    library.BrotliDecoderCreateInstance.restype = pointer
    library.BrotliDecoderCreateInstance.argtypes = [pointer] * 3
    library.BrotliDecoderDestroyInstance.restype = None
    library.BrotliDecoderDestroyInstance.argtypes = [pointer]
    place = ctypes.POINTER(pointer)
    library.BrotliDecoderDecompressStream.restype = ctypes.c_int
    library.BrotliDecoderDecompressStream.argtypes = [pointer, size, place, size, place, size]
    return library


_LIBRARY: Final = _library()


class _State:
    """One decoder of the library.

    Attributes:
        ended: whether the stream's end has come.
    """

    def __init__(self) -> None:
        self.ended = False
        self._room = ctypes.create_string_buffer(PIECE_BYTES)
        self._state = _LIBRARY.BrotliDecoderCreateInstance(None, None, None)
        if not self._state:
            raise MemoryError

    def __del__(self) -> None:
        if getattr(self, "_state", None):
            _LIBRARY.BrotliDecoderDestroyInstance(self._state)

    def feed(self, data: bytes) -> Iterator[bytes]:
        """What some more data decodes to.

        Raises:
            DecodingError: it is damaged.
        """
        given = ctypes.c_char_p(data)
        at = ctypes.cast(given, ctypes.c_void_p)
        left = ctypes.c_size_t(len(data))
        result = _WANTS_ROOM
        while result == _WANTS_ROOM or (result not in (_ERROR, _SUCCESS) and left.value):
            to = ctypes.cast(self._room, ctypes.c_void_p)
            room = ctypes.c_size_t(PIECE_BYTES)
            result = _LIBRARY.BrotliDecoderDecompressStream(
                self._state,
                ctypes.byref(left),
                ctypes.byref(at),
                ctypes.byref(room),
                ctypes.byref(to),
                None,
            )
            if room.value < PIECE_BYTES:
                yield ctypes.string_at(self._room, PIECE_BYTES - room.value)
        if result == _ERROR:
            raise DecodingError("damaged")
        self.ended = result == _SUCCESS


class Brotli:
    """br. What follows its end is passed over, as clients do.

    Of damage in the first 256 KiB nothing before it is missing; further on, up to 256 bytes
    of input are.

    Args:
        at_end: called when it has ended.
    """

    def __init__(self, at_end: Callable[[], None]) -> None:
        self._at_end = at_end
        self._state = _State()
        self._input: bytearray | None = bytearray()
        self._given = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        """What some more data decodes to, in bounded pieces.

        Raises:
            DecodingError: it does not decode.
        """
        if self._input is not None and not self._state.ended:
            self._input += data
            if len(self._input) > _AGAIN_BYTES:
                self._input = None
        for start in range(0, len(data), _STEP_BYTES):
            if self._state.ended:
                return
            try:
                for out in self._state.feed(data[start : start + _STEP_BYTES]):
                    self._given += len(out)
                    yield out
            except DecodingError:
                yield from self._again(len(data) - start)
                raise
            if self._state.ended:
                self._input = None
                self._at_end()

    def _again(self, last: int) -> Iterator[bytes]:
        """What the failed call kept: the input before it decoded anew, then byte by byte."""
        if self._input is None:
            return
        sent, self._input = bytes(self._input), None
        state, skip = _State(), self._given
        begin = len(sent) - last
        steps = [sent[:begin], *(sent[at : at + 1] for at in range(begin, begin + _STEP_BYTES))]
        try:
            for step in steps:
                for out in state.feed(step):
                    yield out[skip:]
                    skip = max(0, skip - len(out))
        except DecodingError:
            return
