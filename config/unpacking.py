"""Compressed files (gzip, bzip2, xz, zstandard), known by their first bytes."""

from __future__ import annotations

import bz2
import functools
import gzip
import io
import lzma
import re
import sys
import zlib
from collections.abc import Callable
from typing import Any, BinaryIO, Final, Protocol, cast

from inkgate.config.extras import Extra, need

MAGIC_BYTES: Final = 6
# Four bytes may stand for 128 KiB: so little at once keeps a bomb below 32 MiB.
_ZSTANDARD_BYTES: Final = 1024
_BUFFER_BYTES: Final = 1 << 17
_PIECE_BYTES: Final = 1 << 16
_XZ_PADDING: Final = 4

Opener = Callable[[BinaryIO], BinaryIO]


def opener_of(beginning: bytes, extra: Extra, purpose: str) -> Opener | None:
    """What decompresses a file.

    Args:
        beginning: its first bytes, at least `MAGIC_BYTES` where there are so many.
        extra: installs what zstandard needs. The opener raises MissingExtraError without it.
        purpose: what would need that, as in `a log in zstandard`.

    Returns:
        None if it is not compressed.
    """
    if beginning.startswith(_ZSTANDARD) or _SKIPPABLE.match(beginning):
        return functools.partial(_zstandard, extra=extra, purpose=purpose)
    return next((o for magic, o in _OPENERS.items() if beginning.startswith(magic)), None)


def unpacking_errors() -> tuple[type[Exception], ...]:
    """What a damaged file raises while it is read, besides OSError."""
    # Without the library no error of it can occur.
    library = sys.modules.get("zstandard")
    more = (library.ZstdError,) if library else ()
    return (EOFError, zlib.error, lzma.LZMAError, *more)


class _Stream(Protocol):
    """One compressed stream, as `bz2` and `lzma` decompress it; sizes in bytes."""

    @property
    def eof(self) -> bool: ...

    @property
    def needs_input(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class _Frame:
    """A frame of zstandard. Nothing bounds what the library makes of its input."""

    needs_input = True

    def __init__(self, library: Any) -> None:
        self._frame = library.ZstdDecompressor().decompressobj()

    @property
    def eof(self) -> bool:
        return bool(self._frame.eof)

    @property
    def unused_data(self) -> bytes:
        return bytes(self._frame.unused_data)

    def decompress(self, data: bytes, _most: int) -> bytes:
        return bytes(self._frame.decompress(data))


class _Streams(io.RawIOBase):
    """The content of compressed streams that follow each other, as parallel packers write them.

    Python's own readers of bzip2 and xz take a stream whose first bytes are damaged for
    something that is none of theirs, and end there; zstandard's takes a cut one for whole.

    Args:
        raw: the file.
        new: begins the next stream.
        piece: how many bytes are read at once.
        padding: zero bytes may stand behind a stream, so many or a multiple; 0: none may.
    """

    def __init__(
        self, raw: BinaryIO, new: Callable[[], _Stream], piece: int, padding: int = 0
    ) -> None:
        self._raw = raw
        self._new = new
        self._piece = piece
        self._padding = padding
        self._stream: _Stream | None = None
        self._rest = b""
        self._ready = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready:
            if self._stream is None and not self._has_next():
                return 0
            self._unpack()
        part, self._ready = self._ready[: len(buffer)], self._ready[len(buffer) :]
        buffer[: len(part)] = part
        return len(part)

    def _unpack(self) -> None:
        stream = self._stream = self._stream or self._new()
        data = b""
        if stream.needs_input:
            data, self._rest = self._rest or self._raw.read(self._piece), b""
            if not data:
                raise EOFError("a stream is cut off")
        self._ready = stream.decompress(data, _BUFFER_BYTES)
        if stream.eof:
            self._rest, self._stream = stream.unused_data, None
            self._skip_padding()

    def _skip_padding(self) -> None:
        zeros = 0
        while self._padding and self._has_next():
            rest = self._rest.lstrip(b"\0")
            zeros += len(self._rest) - len(rest)
            self._rest = rest
            if rest:
                break
        if self._padding and zeros % self._padding:
            raise EOFError("the padding of a stream is cut off")

    def _has_next(self) -> bool:
        self._rest = self._rest or self._raw.read(self._piece)
        return bool(self._rest)


def _bzip2(raw: BinaryIO) -> BinaryIO:
    return _buffered(_Streams(raw, bz2.BZ2Decompressor, _PIECE_BYTES))


def _xz(raw: BinaryIO) -> BinaryIO:
    return _buffered(_Streams(raw, lzma.LZMADecompressor, _PIECE_BYTES, _XZ_PADDING))


def _zstandard(raw: BinaryIO, extra: Extra, purpose: str) -> BinaryIO:
    library = need(extra, "zstandard", purpose)
    return _buffered(_Streams(raw, functools.partial(_Frame, library), _ZSTANDARD_BYTES))


def _buffered(streams: _Streams) -> BinaryIO:
    return io.BufferedReader(streams, _BUFFER_BYTES)


_ZSTANDARD: Final = b"\x28\xb5\x2f\xfd"
# Frames that hold no content: parallel packers begin with one.
_SKIPPABLE: Final = re.compile(rb"[\x50-\x5f]\x2a\x4d\x18")
_OPENERS: Final[dict[bytes, Opener]] = {
    # Python's own reader of gzip takes nothing but zeros behind a member.
    b"\x1f\x8b": lambda raw: cast("BinaryIO", gzip.GzipFile(fileobj=raw)),
    b"\xfd7zXZ\x00": _xz,
    b"BZh": _bzip2,
}
