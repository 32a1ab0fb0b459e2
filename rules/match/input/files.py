"""Log files and standard input, plain or compressed (gzip, zstd, xz, bzip2)."""

from __future__ import annotations

import codecs
import io
import os
import select
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final, cast

from inkgate.config import unpacking
from inkgate.config.unpacking import Opener
from inkgate.rules.match.errors import MatchError
from inkgate.rules.match.input.chunks import BLOCK, Chunk, Chunker
from inkgate.rules.match.logs.log_format import FormatError
from inkgate.rules.match.logs.registry import choices

STANDARD_INPUT: Final = "-"
# While no new lines come, matches are shown at the latest after this time.
IDLE_SECONDS: Final = 0.2

_UTF_16: Final = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}

Chunks = Iterator[Chunk | None]
"""Chunks; None from time to time while there is nothing to read."""


def file_chunks(path: str, format: str) -> Chunks:  # noqa: A002
    """A file's lines, from its beginning to its end.

    Raises:
        MatchError: it cannot be read to its end, or its format is not recognised. The
            chunks before are valid.
    """
    name = "standard input" if path == STANDARD_INPUT else path
    chunker = Chunker(name, format)
    try:
        with io.BytesIO() if path == STANDARD_INPUT else Path(path).open("rb") as file:
            blocks = _from_pipe(sys.stdin.fileno()) if path == STANDARD_INPUT else _blocks(file)
            for block in _in_utf8(blocks):
                if block is None:
                    yield None
                else:
                    yield from chunker.feed(*block)
            yield from chunker.finish()
    except FormatError as error:
        raise unreadable(name, error) from None
    except FileNotFoundError:
        raise MatchError(
            f"{name}: there is no such file; name a log, or a value as TYPE=VALUE"
        ) from None
    except OSError as error:
        raise _broken(name, error.strerror or f"cannot be decompressed ({error})") from None
    except unpacking.unpacking_errors() as error:
        raise _broken(name, f"cannot be decompressed ({error})") from None


def total_size(paths: tuple[str, ...]) -> int | None:
    """Bytes of all files together, as they lie on disk; None if that is not known."""
    try:
        return sum(Path(path).stat().st_size for path in paths if path != STANDARD_INPUT) or None
    except OSError:
        return None


def unreadable(name: str, error: FormatError) -> MatchError:
    """The error for an input whose format is not recognised."""
    return MatchError(f"{name}: {error}; give --format: {choices()}")


def opener_of(beginning: bytes) -> Opener | None:
    """What decompresses a log with this beginning; None if it is plain."""
    return unpacking.opener_of(beginning, "match", "a log in zstandard")


def _blocks(file: BinaryIO) -> Iterator[tuple[bytes, int] | None]:
    """Blocks, and how far each brings the reading of the file itself."""
    if not file.seekable():
        # A named pipe, or one that a shell made: `match <(zcat old.gz)`.
        yield from _from_pipe(file.fileno())
        return
    opener = opener_of(file.read(unpacking.MAGIC_BYTES))
    file.seek(0)
    plain = opener(file) if opener else file
    counted = 0
    for block in _whole_blocks(cast("io.BufferedReader", plain)):
        position = file.tell()
        yield block, position - counted
        counted = position


def _from_pipe(fd: int) -> Iterator[tuple[bytes, int] | None]:
    """Blocks as they come, and their lengths; None from time to time while none comes."""
    beginning = b""
    # Who writes into a pipe may write a byte at a time.
    while len(beginning) < unpacking.MAGIC_BYTES and (part := os.read(fd, BLOCK)):
        beginning += part
    opener = opener_of(beginning)
    if opener is not None:
        with opener(cast("BinaryIO", _Resumed(beginning, fd))) as plain:
            for block in _whole_blocks(cast("io.BufferedReader", plain)):
                yield block, len(block)
        return
    block = beginning
    while block:
        yield block, len(block)
        while not select.select([fd], [], [], IDLE_SECONDS)[0]:
            yield None
        block = os.read(fd, BLOCK)


def _whole_blocks(plain: io.BufferedReader) -> Iterator[bytes]:
    """Blocks; what was unpacked before a fault comes before the fault.

    Raises:
        what reading raises.
    """
    parts: list[bytes] = []
    size = 0
    try:
        while part := plain.read1(BLOCK):
            parts.append(part)
            size += len(part)
            if size >= BLOCK:
                yield b"".join(parts)
                parts, size = [], 0
    except Exception:
        if parts:
            yield b"".join(parts)
        raise
    if parts:
        yield b"".join(parts)


def _in_utf8(blocks: Iterator[tuple[bytes, int] | None]) -> Iterator[tuple[bytes, int] | None]:
    """The same, of a text in UTF-16, which its byte order mark tells: so PowerShell writes."""
    decode, is_first = None, True
    for block in blocks:
        if block is None:
            yield None
            continue
        data, size = block
        if is_first and (name := utf_16(data)):
            decode = codecs.getincrementaldecoder(name)("replace").decode
        is_first = False
        yield (data if decode is None else decode(data).encode()), size


def utf_16(beginning: bytes) -> str:
    """The codec of a log that begins with a byte order mark of UTF-16; else empty."""
    return _UTF_16.get(beginning[:2], "")


class _Resumed(io.RawIOBase):
    """A stream, put together from its beginning, which was read already, and the rest."""

    def __init__(self, beginning: bytes, fd: int) -> None:
        self._beginning = beginning
        self._fd = fd

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        size = BLOCK if size < 0 else size
        if self._beginning:
            part, self._beginning = self._beginning[:size], self._beginning[size:]
            return part
        return os.read(self._fd, size)


def _broken(name: str, problem: str) -> MatchError:
    return MatchError(f"{name}: {problem}; what comes before was matched, check the rest")
