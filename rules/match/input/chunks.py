"""Blocks of whole lines, cut from files and streams: what one process works on at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple

from inkgate.rules.match.logs.entry import MAX_LINE
from inkgate.rules.match.logs.log_format import FormatError
from inkgate.rules.match.logs.registry import AUTO, BLANK, guess, last_header

BLOCK: Final = 1 << 18
# Programs of Windows write it before the first line.
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


def no_acknowledgement() -> None:
    """For chunks whose source needs no acknowledgement."""


class Chunk(NamedTuple):
    """Some whole lines.

    Attributes:
        source: the file's name, or the queue's.
        first: number of the first line in it, from 1.
        text: the lines, without the last newline.
        size: how far the progress bar advances with it, in bytes of the input.
        format: a log format's name, or a description of the lines.
        header: the header line that holds at the beginning, in formats that have one.
        acknowledge: called when all matches in it have been written.
    """

    source: str
    first: int
    text: bytes
    size: int
    format: str
    header: str = ""
    acknowledge: Callable[[], None] = no_acknowledgement


class Chunker:
    """Cuts one input's blocks into chunks.

    Args:
        source: its name.
        format: its format; `auto` to see by its first lines.
    """

    def __init__(self, source: str, format: str) -> None:  # noqa: A002
        self.source = source
        self.format = format
        self._header = b""
        self._rest = b""
        self._line = 1

    def feed(self, data: bytes, size: int = -1) -> Iterator[Chunk]:
        """The chunk of the lines that this block completes.

        Args:
            size: what progress counts for it, if not its length.

        Raises:
            FormatError: its format is not recognised.
        """
        head, newline, tail = data.rpartition(b"\n")
        if not newline:
            # Only the beginning of a line that is too long is kept.
            self._rest = (self._rest + data)[: MAX_LINE + 1]
            return
        text, self._rest = self._rest + head, tail[: MAX_LINE + 1]
        yield self.chunk(text, len(data) if size < 0 else size)

    def finish(self) -> Iterator[Chunk]:
        """What is left: a last line without a newline."""
        rest, self._rest = self._rest, b""
        if rest:
            yield self.chunk(rest, 0)

    def chunk(
        self, text: bytes, size: int, acknowledge: Callable[[], None] = no_acknowledgement
    ) -> Chunk:
        """A chunk of whole lines."""
        text = _without_marks(text)
        name = self._named(text)
        header = self._header
        self._header = last_header(name, text, header)
        made = Chunk(
            self.source,
            self._line,
            text,
            size,
            name,
            header.decode("utf-8", "replace"),
            acknowledge,
        )
        self._line += text.count(b"\n") + 1
        return made

    def _named(self, text: bytes) -> str:
        if self.format != AUTO:
            return self.format
        found = guess(_lines(text))
        if found is not None:
            self.format = found
            return found
        if not text.strip():
            return BLANK
        raise FormatError("is in no format known here")


def whole(blocks: Iterable[bytes], source: str, format: str) -> Iterator[Chunk]:  # noqa: A002
    """All chunks of a stream of blocks."""
    chunker = Chunker(source, format)
    for block in blocks:
        yield from chunker.feed(block)
    yield from chunker.finish()


def _without_marks(text: bytes) -> bytes:
    """Lines without byte order marks: logs are concatenated, and each may begin with one."""
    if _BYTE_ORDER_MARK not in text:
        return text
    return text.removeprefix(_BYTE_ORDER_MARK).replace(b"\n" + _BYTE_ORDER_MARK, b"\n")


def _lines(text: bytes) -> Iterator[str]:
    start = 0
    while start < len(text):
        end = text.find(b"\n", start)
        end = len(text) if end < 0 else end
        yield text[start : min(end, start + MAX_LINE)].decode("utf-8", "surrogateescape")
        start = end + 1
