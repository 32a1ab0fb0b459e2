"""zstd, block by block (RFC 8878), with windows up to what command-line tools take."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Generator, Iterator
from typing import Final

import zstandard

from inkgate.icap_server.body.inflate import PIECE_BYTES, DecodingError

_MAGIC: Final = b"\x28\xb5\x2f\xfd"
_SKIPPABLE: Final = b"\x2a\x4d\x18"
_BLOCK_BYTES: Final = 128 << 10
_RUN_LENGTH, _RESERVED = 1, 3
_SKIPPABLE_NIBBLE: Final = 5
_SINGLE_SEGMENT, _HAS_CHECKSUM = 32, 4
# Browsers take 8 MiB (RFC 9659), other programs as much as this.
_WIDEST_BYTES: Final = 128 << 20
# What a frame and each block cost, however little is in them.
_STEPS_OF_FRAME: Final = 4

_Parser = Generator[tuple[int, bytes], bytes, bytes]


class Zstd:
    """zstd, frame by frame: bytes behind a frame that are none cannot spoil its content.

    Of a damaged frame all blocks before the damaged one are given, as a client has them.

    Args:
        at_end: called when the first frame has ended.
        at_second: called when a second frame begins and all of the first was given.
        spend: called with the steps that frames and blocks cost; raises when there are no more.
    """

    def __init__(
        self,
        at_end: Callable[[], None],
        at_second: Callable[[], None],
        spend: Callable[[int], None],
    ) -> None:
        self._at_end, self._at_second, self._spend = at_end, at_second, spend
        self._frame: zstandard.ZstdDecompressionObj | None = None
        self._frames = self._window = self._made = 0
        # Without a circle, so that the window is free again as soon as this is not used.
        self._units = Zstd._parsed(weakref.proxy(self))
        self._wanted = next(self._units)[0]
        self._got = bytearray()

    @property
    def kept(self) -> int:
        """Bytes of its window that are in use, and of a block that is not complete."""
        return min(self._made, self._window) + len(self._got)

    def feed(self, data: bytes) -> Iterator[bytes]:
        """What some more data decodes to, in bounded pieces.

        Raises:
            DecodingError: it does not decode.
        """
        at = 0
        while at < len(data):
            piece = data[at : at + self._wanted - len(self._got)]
            at += len(piece)
            self._got += piece
            if len(self._got) == self._wanted:
                unit = bytes(self._got)
                self._got.clear()
                yield from self._decode(unit)

    def _decode(self, unit: bytes) -> Iterator[bytes]:
        self._wanted, data = self._units.send(unit)
        if self._frame is None or not data:
            return
        try:
            out = self._frame.decompress(data)
        except zstandard.ZstdError:
            raise DecodingError("damaged") from None
        self._made += len(out)
        for at in range(0, len(out), PIECE_BYTES):
            yield out[at : at + PIECE_BYTES]
        if self._frame.eof:
            self._end_frame()

    def _end_frame(self) -> None:
        self._frame = None
        self._window = 0
        if self._frames == 1:
            self._at_end()

    def _parsed(self) -> _Parser:
        """Gets the units asked for; says how long the next one is, and what to decode now."""
        data = b""
        while True:
            magic = yield 4, data
            if magic[1:] == _SKIPPABLE and magic[0] >> 4 == _SKIPPABLE_NIBBLE:
                yield from Zstd._skip(self)
                data = b""
            elif magic == _MAGIC:
                data = yield from Zstd._frame_after(self, magic)
            else:
                raise DecodingError("damaged")

    def _skip(self) -> _Parser:
        left = int.from_bytes((yield 4, b""), "little")
        self._count_frame()
        while left:
            left -= len((yield min(left, PIECE_BYTES), b""))
        return b""

    def _frame_after(self, magic: bytes) -> _Parser:
        """A frame behind its magic number; the last unit to decode."""
        descriptor = (yield 1, b"")[0]
        is_single = bool(descriptor & _SINGLE_SEGMENT)
        size_bytes = (1 if is_single else 0, 2, 4, 8)[descriptor >> 6]
        rest = yield (0 if is_single else 1) + (0, 1, 2, 4)[descriptor & 3] + size_bytes, b""
        self._begin_frame(_window(rest, size_bytes, is_single=is_single))
        unit, is_last = magic + bytes([descriptor]) + rest, False
        while not is_last:
            head = yield 3, unit
            self._spend(1)
            fields = int.from_bytes(head, "little")
            is_last, kind, size = bool(fields & 1), fields >> 1 & 3, fields >> 3
            size = 1 if kind == _RUN_LENGTH else size
            if kind == _RESERVED or size > _BLOCK_BYTES:
                raise DecodingError("damaged")
            unit = head + ((yield size, b"") if size else b"")
        return unit if not descriptor & _HAS_CHECKSUM else (yield from _checksum(unit))

    def _begin_frame(self, window: int) -> None:
        self._count_frame()
        if window > _WIDEST_BYTES:
            raise DecodingError("damaged")
        self._window, self._made = window, 0
        # A decompressor would keep its window for the next frame.
        decompressor = zstandard.ZstdDecompressor(max_window_size=_WIDEST_BYTES)
        self._frame = decompressor.decompressobj()

    def _count_frame(self) -> None:
        if self._frames == 1:
            self._at_second()
        self._spend(_STEPS_OF_FRAME)
        self._frames += 1


def _checksum(unit: bytes) -> _Parser:
    return (yield 4, unit)


def _window(rest: bytes, size_bytes: int, *, is_single: bool) -> int:
    """Bytes of the window of a frame, by its header without magic number and descriptor."""
    if is_single:
        size = int.from_bytes(rest[-size_bytes:], "little")
        return size + (256 if size_bytes == 2 else 0)
    base = 1 << 10 + (rest[0] >> 3)
    return base + base // 8 * (rest[0] & 7)
