"""Content-encodings undone in pieces, in bounded memory whatever is sent.

Sources: RFC 7932 (br), RFC 8878 (zstd) with the window of RFC 9659; for gzip and deflate
see `inflate`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, Protocol

import brotli
import zstandard

from inkgate.icap_server.body.inflate import MAX_MEMBERS, PIECE_BYTES, DecodingError, Deflate, Gzip

# zstandard has no limit on what one call gives: a block of 4 bytes may stand for 128
# KiB, so that this much input makes 32 MiB at the very most.
_ZSTD_INPUT_BYTES: Final = 1024
_ZSTD_WINDOW_BYTES: Final = 8 << 20
# Most bodies in br are shorter than this, and decoded once.
_BEHIND_BYTES: Final = 256 * 1024
_MAX_LAYERS: Final = 3


class Decoder(Protocol):
    """Undoes one encoding."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """What some more data decodes to, in bounded pieces.

        Raises:
            DecodingError: it does not decode.
        """


class _Brotli:
    """br, with what a client shows of damaged data.

    A call of brotli's decoder that fails, even at bytes behind the end, gives nothing of
    what it decoded. So a second decoder has the same input later: at a failure it decodes
    the last input byte by byte, up to the damage.
    """

    def __init__(self) -> None:
        self._ahead, self._behind = brotli.Decompressor(), brotli.Decompressor()
        self._between = bytearray()
        # Bytes of output that the first decoder has given and the second has not.
        self._lead = 0
        self._is_over = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        if self._is_over:
            return
        try:
            for out in _brotli_output(self._ahead, data):
                self._lead += len(out)
                yield out
        except brotli.error:
            yield from self._go_over(data)
            return
        self._is_over = self._ahead.is_finished()
        self._between += data
        if len(self._between) > _BEHIND_BYTES:
            self._catch_up()

    def _catch_up(self) -> None:
        for out in _brotli_output(self._behind, bytes(self._between)):
            self._lead -= len(out)
        self._between.clear()

    def _go_over(self, data: bytes) -> Iterator[bytes]:
        self._catch_up()
        self._is_over = True
        try:
            for at in range(len(data)):
                for out in _brotli_output(self._behind, data[at : at + 1]):
                    yield out[self._lead :]
                    self._lead = max(0, self._lead - len(out))
                if self._behind.is_finished():
                    return
        except brotli.error:
            pass
        raise DecodingError("damaged")


def _brotli_output(decoder: brotli.Decompressor, data: bytes) -> Iterator[bytes]:
    # Until no output comes: the decoder may ask for input while it still has output.
    out = decoder.process(data, output_buffer_limit=PIECE_BYTES)
    while out:
        yield out
        out = decoder.process(b"", output_buffer_limit=PIECE_BYTES)


class _Zstd:
    """zstd, frame by frame: bytes behind a frame that are none cannot spoil its content."""

    def __init__(self, at_second: Callable[[], None]) -> None:
        self._at_second = at_second
        self._decompressor = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_BYTES)
        self._frame: zstandard.ZstdDecompressionObj | None = None
        self._frames = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        for start in range(0, len(data), _ZSTD_INPUT_BYTES):
            piece = data[start : start + _ZSTD_INPUT_BYTES]
            while piece:
                frame = self._frame = self._frame or self._next_frame()
                try:
                    out = frame.decompress(piece)
                except zstandard.ZstdError:
                    raise DecodingError("damaged") from None
                for at in range(0, len(out), PIECE_BYTES):
                    yield out[at : at + PIECE_BYTES]
                piece = frame.unused_data
                if frame.eof:
                    self._frame = None

    def _next_frame(self) -> zstandard.ZstdDecompressionObj:
        if self._frames == 1:
            self._at_second()
        if self._frames >= MAX_MEMBERS:
            raise DecodingError("too many frames")
        self._frames += 1
        return self._decompressor.decompressobj()


_DECODERS: Final[dict[str, Callable[[Callable[[], None]], Decoder]]] = {
    "gzip": Gzip,
    "x-gzip": Gzip,
    "deflate": lambda _: Deflate(),
    "br": lambda _: _Brotli(),
    "zstd": _Zstd,
}


class Layers:
    """Undoes all encodings of a body, and counts what each of them makes.

    Args:
        encodings: as in Content-Encoding: in the order in which they were applied.
        at_second: called when the second member (gzip) or frame (zstd) begins, once for
            each layer, when all of the first one has been given.

    Raises:
        DecodingError: one of them is unknown, or there are more than anybody uses.
    """

    def __init__(self, encodings: tuple[str, ...], at_second: Callable[[], None]) -> None:
        if len(encodings) > _MAX_LAYERS or not all(name in _DECODERS for name in encodings):
            raise DecodingError("unknown encoding")
        self._decoders = [_DECODERS[name](at_second) for name in reversed(encodings)]
        self._made = [0] * len(encodings)

    def feed(self, data: bytes, most: int) -> Iterator[bytes]:
        """What some more data decodes to, in bounded pieces.

        Args:
            data: as it was sent.
            most: bytes that any layer may have made, from the beginning. What one makes
                is work for the next even if nothing comes out at the end.

        Raises:
            DecodingError: it does not decode, or a layer made too much.
        """
        return self._undo(0, data, most)

    def _undo(self, layer: int, data: bytes, most: int) -> Iterator[bytes]:
        if layer == len(self._decoders):
            yield data
            return
        for piece in self._decoders[layer].feed(data):
            self._made[layer] += len(piece)
            if self._made[layer] > most:
                raise DecodingError("grows too much when decoded")
            yield from self._undo(layer + 1, piece, most)
