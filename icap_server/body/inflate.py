"""gzip and deflate, read as tolerantly as browsers do.

Sources: RFC 9110, section 8.4.1; RFC 1950 (zlib), RFC 1951 (deflate), RFC 1952 (gzip).
Browsers check no checksum of gzip, neither the header's nor the content's, so none is
checked here: what they show has to be seen.
"""

from __future__ import annotations

import zlib
from bisect import bisect_left
from collections.abc import Callable, Generator, Iterator
from typing import Final

PIECE_BYTES: Final = 64 * 1024
# What a member costs, however little is in it: a header in Python, and a decoder of zlib's.
_STEPS_OF_MEMBER: Final = 4
_STEPS_OF_STREAM: Final = 2
_MAGIC: Final = b"\x1f\x8b\x08"
_TRAILER_BYTES: Final = 8
_HAS_CRC, _HAS_EXTRA, _HAS_NAME, _HAS_COMMENT = 2, 4, 8, 16
_TO_NUL: Final = -1


class DecodingError(Exception):
    """The data is not in the encoding that it claims, or in one that we do not know."""


class Gzip:
    """gzip, with several members.

    Args:
        at_end: called when the first member has ended.
        at_second: called when a second member begins and all of the first was given.
        spend: called with the steps that each member costs; raises when there are no more.
    """

    kept = 0

    def __init__(
        self,
        at_end: Callable[[], None],
        at_second: Callable[[], None],
        spend: Callable[[int], None],
    ) -> None:
        self._at_end, self._at_second, self._spend = at_end, at_second, spend
        self._members = self._trailer = 0
        self._header: _Header | None = None
        self._stream: _Stream | None = None
        self._is_over = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """What some more data decodes to, in bounded pieces.

        Raises:
            DecodingError: it does not decode.
        """
        while data and not self._is_over:
            if self._stream is not None:
                yield from self._stream.feed(data)
                data = self._after(self._stream)
            elif self._trailer:
                skipped = min(self._trailer, len(data))
                self._trailer -= skipped
                data = data[skipped:]
            else:
                data = self._start(data)

    def _start(self, data: bytes) -> bytes:
        if self._header is None:
            # Browsers stop at what follows the last member and is none.
            if self._members and data[0] != _MAGIC[0]:
                self._is_over = True
                return b""
            self._header = self._next_header()
        rest = self._header.feed(data)
        if rest is None:
            return b""
        self._header, self._stream = None, _Stream(-zlib.MAX_WBITS)
        return rest

    def _next_header(self) -> _Header:
        if self._members == 1:
            self._at_second()
        self._spend(_STEPS_OF_MEMBER)
        self._members += 1
        return _Header()

    def _after(self, stream: _Stream) -> bytes:
        if not stream.ended:
            return b""
        self._stream, self._trailer = None, _TRAILER_BYTES
        if self._members == 1:
            self._at_end()
        return stream.rest


class Deflate:
    """deflate without a header, as some servers send it.

    Firefox reads a second stream behind the first when it comes by itself, other clients
    pass it over. What is none is passed over here as well.

    Args:
        at_end: called when the first stream has ended.
        at_second: called when a second stream begins and all of the first was given.
        spend: called with the steps that each stream costs; raises when there are no more.
    """

    kept = 0
    _window = -zlib.MAX_WBITS

    def __init__(
        self,
        at_end: Callable[[], None],
        at_second: Callable[[], None],
        spend: Callable[[int], None],
    ) -> None:
        self._at_end, self._at_second, self._spend = at_end, at_second, spend
        self._streams = 0
        self._stream: _Stream | None = None
        self._is_over = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """What some more data decodes to, in bounded pieces.

        Raises:
            DecodingError: the first stream does not decode, or there are too many.
        """
        while data and not self._is_over:
            stream = self._stream = self._stream or self._next_stream()
            try:
                yield from stream.feed(data)
            except DecodingError:
                if self._streams == 1:
                    raise
                self._is_over = True
                return
            data = self._after(stream)

    def _next_stream(self) -> _Stream:
        if self._streams == 1:
            self._at_second()
        self._spend(_STEPS_OF_STREAM)
        self._streams += 1
        return _Stream(self._window)

    def _after(self, stream: _Stream) -> bytes:
        if not stream.ended:
            return b""
        self._stream = None
        if self._streams == 1:
            self._at_end()
        return stream.rest


class Zlib(Deflate):
    """deflate with zlib's header and checksum, which is what `deflate` should mean."""

    _window = zlib.MAX_WBITS


class _Stream:
    """One deflate stream.

    Args:
        window: zlib's `wbits`.
    """

    def __init__(self, window: int) -> None:
        self._inner = zlib.decompressobj(window)

    @property
    def ended(self) -> bool:
        return self._inner.eof

    @property
    def rest(self) -> bytes:
        """What was fed and lies behind the stream's end."""
        return self._inner.unused_data

    def feed(self, data: bytes) -> Iterator[bytes]:
        # All input may be taken while output is still to come.
        out = b""
        while not self.ended and (data or len(out) == PIECE_BYTES):
            before = self._inner.copy()
            try:
                out = self._inner.decompress(data, PIECE_BYTES)
            except zlib.error:
                yield _before_damage(before, data)
                raise DecodingError("damaged") from None
            yield out
            data = self._inner.unconsumed_tail


class _Header:
    """A gzip member's header, skipped as it comes."""

    def __init__(self) -> None:
        self._fields = _fields()
        self._wanted = next(self._fields)
        self._got = bytearray()

    def feed(self, data: bytes) -> bytes | None:
        """What follows the header; None while that has not come.

        Raises:
            DecodingError: it is none.
        """
        while (rest := self._take(data)) is not None:
            data = rest
            try:
                self._wanted = self._fields.send(self._got)
            except StopIteration:
                return data
            self._got.clear()
        return None

    def _take(self, data: bytes) -> bytes | None:
        """What follows the wanted field; None if that is not complete."""
        if self._wanted == _TO_NUL:
            _, found, rest = data.partition(b"\0")
            return rest if found else None
        missing = self._wanted - len(self._got)
        self._got += data[:missing]
        return data[missing:] if len(data) >= missing else None


def _fields() -> Generator[int, bytearray, None]:
    """Asks for the length of one field after the other, and gets the field (RFC 1952, 2.3)."""
    fixed = yield 10
    if not fixed.startswith(_MAGIC):
        raise DecodingError("damaged")
    flags = fixed[3]
    if flags & _HAS_EXTRA:
        length = yield 2
        yield int.from_bytes(length, "little")
    for flag in (_HAS_NAME, _HAS_COMMENT):
        if flags & flag:
            yield _TO_NUL
    if flags & _HAS_CRC:
        yield 2


def is_gzip(data: bytes) -> bool:
    """Whether data begins with gzip's magic number."""
    return data.startswith(_MAGIC[:2])


def is_zlib(data: bytes) -> bool:
    """Whether data begins with zlib's header, without a preset dictionary (RFC 1950, 2.2)."""
    return data[0] & 0x8F == 8 and not data[1] & 0x20 and int.from_bytes(data[:2]) % 31 == 0


def _before_damage(state: zlib._Decompress, data: bytes) -> bytes:
    """What decodes before the first damaged byte; a call of zlib that fails gives nothing."""

    def fails(last: int) -> bool:
        try:
            state.copy().decompress(data[: last + 1], PIECE_BYTES)
        except zlib.error:
            return True
        return False

    sound = bisect_left(range(len(data)), True, key=fails)
    return state.decompress(data[:sound], PIECE_BYTES)
