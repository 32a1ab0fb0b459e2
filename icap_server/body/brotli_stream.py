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
# The widest that the library takes unless it is asked for more (RFC 7932, section 9.1).
_WINDOW_BYTES: Final = 16 << 20
_ERROR, _SUCCESS, _NOTHING_YET = 0, 1, -1


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


class _Room:
    """Where the library puts what it decodes: for one call of `feed`, not for each decoder.

    Attributes:
        to, free: where the next byte goes, and how many may come.
    """

    def __init__(self) -> None:
        self._room = ctypes.create_string_buffer(PIECE_BYTES)
        self._start = ctypes.addressof(self._room)
        self.to, self.free = ctypes.c_void_p(self._start), ctypes.c_size_t(PIECE_BYTES)

    def taken(self) -> bytes:
        """What is in it, which makes room again."""
        out = ctypes.string_at(self._start, PIECE_BYTES - self.free.value)
        self.to.value, self.free.value = self._start, PIECE_BYTES
        return out


class _State:
    """One decoder of the library.

    Attributes:
        ended: whether the stream's end has come.
    """

    def __init__(self) -> None:
        self.ended = False
        self._state = _LIBRARY.BrotliDecoderCreateInstance(None, None, None)
        if not self._state:
            raise MemoryError

    def __del__(self) -> None:
        if getattr(self, "_state", None):
            _LIBRARY.BrotliDecoderDestroyInstance(self._state)

    def feed(self, data: bytes, room: _Room) -> Iterator[bytes]:
        """What some more data decodes to, as often as the room is full of it.

        Raises:
            DecodingError: it is damaged.
        """
        given = ctypes.c_char_p(data)
        at = ctypes.cast(given, ctypes.c_void_p)
        left = ctypes.c_size_t(len(data))
        result, is_full = _NOTHING_YET, True
        # Where the room is full there may be more, even if more input is all that it wants.
        while result not in (_ERROR, _SUCCESS) and (is_full or left.value):
            result = _LIBRARY.BrotliDecoderDecompressStream(
                self._state,
                ctypes.byref(left),
                ctypes.byref(at),
                ctypes.byref(room.free),
                ctypes.byref(room.to),
                None,
            )
            is_full = not room.free.value
            if is_full:
                yield room.taken()
        if result == _ERROR:
            raise DecodingError("damaged")
        self.ended = result == _SUCCESS


class Brotli:
    """br. What follows its end is passed over, as clients do.

    Of damage in the first 256 KiB nothing before it is missing; further on, up to 256 bytes
    of input are.

    Args:
        at_end: called when it has ended.
        spend: called with a step for each call of the library; raises when there are no more.
    """

    def __init__(self, at_end: Callable[[], None], spend: Callable[[int], None]) -> None:
        self._at_end, self._spend = at_end, spend
        self._state: _State | None = _State()
        self._input: bytearray | None = bytearray()
        self._given = 0

    @property
    def kept(self) -> int:
        """Bytes of its window that are in use, and of its input."""
        if self._state is None:
            return 0
        return min(self._given, _WINDOW_BYTES) + len(self._input or b"")

    def feed(self, data: bytes) -> Iterator[bytes]:
        """What some more data decodes to, in bounded pieces.

        Raises:
            DecodingError: it does not decode.
        """
        if self._state is None:
            return
        self._spend(len(data) // _STEP_BYTES)
        if self._input is not None:
            self._input += data
            if len(self._input) > _AGAIN_BYTES:
                self._input = None
        for out in self._decode(data, self._state):
            self._given += len(out)
            yield out
        if self._state.ended:
            self._state = self._input = None
            self._at_end()

    def _decode(self, data: bytes, state: _State) -> Iterator[bytes]:
        room = _Room()
        for start in range(0, len(data), _STEP_BYTES):
            try:
                yield from state.feed(data[start : start + _STEP_BYTES], room)
            except DecodingError:
                yield room.taken()
                yield from self._again(len(data) - start)
                raise
            if state.ended:
                break
        yield room.taken()

    def _again(self, last: int) -> Iterator[bytes]:
        """What the failed call kept: the input before it decoded anew, then byte by byte."""
        if self._input is None:
            return
        sent, self._input = bytes(self._input), None
        state, skip, room = _State(), self._given, _Room()
        begin = len(sent) - last
        steps = [sent[:begin], *(sent[at : at + 1] for at in range(begin, begin + _STEP_BYTES))]
        try:
            for step in steps:
                for out in state.feed(step, room):
                    yield out[skip:]
                    skip = max(0, skip - len(out))
        except DecodingError:
            pass
        yield room.taken()[skip:]
