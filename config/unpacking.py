"""Compressed files (gzip, bzip2, xz, zstandard), known by their first bytes."""

from __future__ import annotations

import bz2
import functools
import gzip
import io
import lzma
import sys
import zlib
from collections.abc import Callable
from typing import Any, BinaryIO, Final, cast

from inkgate.config.extras import Extra, need

MAGIC_BYTES: Final = 6
# Four bytes may stand for 128 KiB: so little at once keeps a bomb below 32 MiB.
_ZSTANDARD_BYTES: Final = 1024
_BUFFER_BYTES: Final = 1 << 17

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
    if beginning.startswith(_ZSTANDARD):
        return functools.partial(_zstandard, extra=extra, purpose=purpose)
    return next((o for magic, o in _OPENERS.items() if beginning.startswith(magic)), None)


def unpacking_errors() -> tuple[type[Exception], ...]:
    """What a damaged file raises while it is read, besides OSError."""
    # Without the library no error of it can occur.
    library = sys.modules.get("zstandard")
    more = (library.ZstdError,) if library else ()
    return (EOFError, zlib.error, lzma.LZMAError, *more)


class _Frames(io.RawIOBase):
    """The content of zstandard frames. The library's own reader takes a cut one for whole."""

    def __init__(self, raw: BinaryIO, library: Any) -> None:
        self._raw = raw
        self._library = library
        self._frame: Any = None
        self._rest = b""
        self._ready = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready:
            data = self._rest or self._raw.read(_ZSTANDARD_BYTES)
            if not data:
                if self._frame is not None:
                    raise EOFError("a frame is cut off")
                return 0
            if self._frame is None:
                self._frame = self._library.ZstdDecompressor().decompressobj()
            self._ready, self._rest = self._frame.decompress(data), b""
            if self._frame.eof:
                self._rest, self._frame = self._frame.unused_data, None
        part, self._ready = self._ready[: len(buffer)], self._ready[len(buffer) :]
        buffer[: len(part)] = part
        return len(part)


def _zstandard(raw: BinaryIO, extra: Extra, purpose: str) -> BinaryIO:
    library = need(extra, "zstandard", purpose)
    return io.BufferedReader(_Frames(raw, library), _BUFFER_BYTES)


_ZSTANDARD: Final = b"\x28\xb5\x2f\xfd"
_OPENERS: Final[dict[bytes, Opener]] = {
    b"\x1f\x8b": lambda raw: cast("BinaryIO", gzip.GzipFile(fileobj=raw)),
    b"\xfd7zXZ\x00": lambda raw: cast("BinaryIO", lzma.LZMAFile(raw)),  # noqa: SIM115 (closed with raw)
    b"BZh": lambda raw: cast("BinaryIO", bz2.BZ2File(raw)),
}
