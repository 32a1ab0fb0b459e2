"""Content-encodings undone in pieces, without ever making much out of little.

Sources: RFC 9110, section 8.4.1 (gzip, deflate), RFC 7932 (br), RFC 8878 (zstd) with
the window of RFC 9659.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from typing import Final, Protocol

import brotli
import zstandard

PIECE_BYTES: Final = 64 * 1024
# zstandard has no limit on what one call gives: a block of 4 bytes may stand for 128
# KiB, so that this much input makes 32 MiB at the very most.
_ZSTD_INPUT_BYTES: Final = 1024
_ZSTD_WINDOW_BYTES: Final = 8 << 20
_MAX_LAYERS: Final = 3


class DecodingError(Exception):
    """The data is not in the encoding that it claims, or in one that we do not know."""


class Decoder(Protocol):
    """Undoes one encoding."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """What some more data decodes to, in bounded pieces.

        Raises:
            DecodingError: it does not decode.
        """


class _Zlib:
    """gzip (with several members) and deflate (with zlib's header, or raw as some send it)."""

    def __init__(self, *, gzip: bool) -> None:
        self._gzip = gzip
        self._inner: zlib._Decompress | None = None
        self._members = 0
        self._is_at_end = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        # A decompressor that is finished keeps all that it is given, and copies it.
        while data and not self._is_over(data):
            if self._inner is None:
                self._inner = zlib.decompressobj(self._window(data))
            try:
                out = self._inner.decompress(data, PIECE_BYTES)
            except zlib.error:
                raise DecodingError("damaged") from None
            if out:
                yield out
            data = self._inner.unconsumed_tail
            if self._inner.eof:
                data = self._inner.unused_data
                self._inner = None
                self._members += 1

    def _is_over(self, data: bytes) -> bool:
        # Browsers stop at what follows the last member and is none.
        if self._inner is None and self._members and (not self._gzip or data[0] != 0x1F):
            self._is_at_end = True
        return self._is_at_end

    def _window(self, data: bytes) -> int:
        if self._gzip:
            return 16 + zlib.MAX_WBITS
        return zlib.MAX_WBITS if data[0] & 0x0F == 8 else -zlib.MAX_WBITS


class _Brotli:
    def __init__(self) -> None:
        self._inner = brotli.Decompressor()

    def feed(self, data: bytes) -> Iterator[bytes]:
        try:
            if self._inner.is_finished():
                return
            out = self._inner.process(data, output_buffer_limit=PIECE_BYTES)
            # Not before there is no output: more input may be welcome while some waits.
            while out:
                yield out
                out = self._inner.process(b"", output_buffer_limit=PIECE_BYTES)
        except brotli.error:
            raise DecodingError("damaged") from None


class _Zstd:
    def __init__(self) -> None:
        decompressor = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_BYTES)
        self._inner = decompressor.decompressobj(read_across_frames=True)

    def feed(self, data: bytes) -> Iterator[bytes]:
        for start in range(0, len(data), _ZSTD_INPUT_BYTES):
            try:
                out = self._inner.decompress(data[start : start + _ZSTD_INPUT_BYTES])
            except zstandard.ZstdError:
                raise DecodingError("damaged") from None
            for at in range(0, len(out), PIECE_BYTES):
                yield out[at : at + PIECE_BYTES]


_DECODERS: Final[dict[str, Callable[[], Decoder]]] = {
    "gzip": lambda: _Zlib(gzip=True),
    "x-gzip": lambda: _Zlib(gzip=True),
    "deflate": lambda: _Zlib(gzip=False),
    "br": _Brotli,
    "zstd": _Zstd,
}


def decoders(encodings: tuple[str, ...]) -> list[Decoder]:
    """Decoders in the order of their use.

    Args:
        encodings: as in Content-Encoding: in the order in which they were applied.

    Raises:
        DecodingError: one of them is unknown, or there are more than anybody uses.
    """
    if len(encodings) > _MAX_LAYERS or not all(name in _DECODERS for name in encodings):
        raise DecodingError("unknown encoding")
    return [_DECODERS[name]() for name in reversed(encodings)]


def decode(layers: list[Decoder], data: bytes) -> Iterator[bytes]:
    """Pass data through all decoders, in bounded pieces.

    Raises:
        DecodingError: it does not decode.
    """
    if not layers:
        yield data
        return
    for piece in layers[0].feed(data):
        yield from decode(layers[1:], piece)
