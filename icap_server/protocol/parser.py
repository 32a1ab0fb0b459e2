"""A connection's input as a sequence of messages and pieces of bodies."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Final, NamedTuple

from inkgate.icap_server.protocol.chunks import ChunkReader, End
from inkgate.icap_server.protocol.errors import ProtocolError
from inkgate.icap_server.protocol.head import Head, parse_head

MAX_HEAD_BYTES: Final = 64 * 1024
_END: Final = b"\r\n\r\n"
# The end of a head for a lenient reader, which also accepts LF without CR (RFC 7230,
# section 3.5).
_EMPTY_LINE: Final = re.compile(rb"\n\r?\n")


class IcapMessage(NamedTuple):
    """A message up to its body.

    Attributes:
        head: the ICAP head.
        request: the encapsulated HTTP request's head with its empty line, or empty.
        response: the same of the response.
    """

    head: Head
    request: bytes
    response: bytes


Event = IcapMessage | bytes | End


class MessageParser:
    """Bytes in, events out; one for each connection.

    Holds at most one head, one set of encapsulated headers and what was fed last.
    """

    def __init__(self) -> None:
        self.buffer = bytearray()
        self._searched = 0
        self._head: Head | None = None
        self._chunks: ChunkReader | None = None

    @property
    def at_start(self) -> bool:
        """Whether nothing of a next message has been taken out of the buffer."""
        return self._head is None and self._chunks is None

    def feed(self, data: bytes) -> None:
        """Take what the connection gave."""
        self.buffer += data

    def continue_body(self) -> None:
        """After a preview's end: the rest of the body follows (100 Continue)."""
        self._chunks = ChunkReader()

    def next(self) -> Event | None:
        """The next event; None when more input is needed.

        Raises:
            ProtocolError: nothing after this can be understood.
        """
        if self._chunks is not None:
            piece = self._chunks.next(self.buffer)
            if isinstance(piece, End):
                self._chunks = None
            return piece
        if self._head is None and not self._read_head():
            return None
        return self._message()

    def _read_head(self) -> bool:
        # Empty lines before a request are ignored (RFC 2616, section 4.1).
        while self.buffer[:2] == b"\r\n":
            del self.buffer[:2]
            self._searched = 0
        end = self.buffer.find(_END, self._searched, MAX_HEAD_BYTES)
        if end < 0:
            if len(self.buffer) >= MAX_HEAD_BYTES:
                raise ProtocolError(400, "the head is too long")
            self._searched = max(0, len(self.buffer) - len(_END) + 1)
            return False
        head = parse_head(bytes(self.buffer[:end]))
        del self.buffer[: end + len(_END)]
        self._searched = 0
        self._head = head
        return True

    def _message(self) -> IcapMessage | None:
        head = self._head
        if head is None or len(self.buffer) < head.headers_bytes:
            return None
        blocks = _cut(head, bytes(self.buffer[: head.headers_bytes]))
        del self.buffer[: head.headers_bytes]
        self._head = None
        if head.has_body:
            self._chunks = ChunkReader()
        return IcapMessage(head, blocks.get(b"req-hdr", b""), blocks.get(b"res-hdr", b""))


def _cut(head: Head, data: bytes) -> dict[bytes, bytes]:
    blocks = {}
    for section, following in pairwise(head.sections):
        block = data[section.offset : following.offset]
        if not _is_one_head(block):
            raise ProtocolError(400, "Encapsulated does not fit what it describes")
        blocks[section.name] = block
    if head.method == b"REQMOD" and not blocks:
        raise ProtocolError(400, "REQMOD without a request")
    return blocks


def _is_one_head(block: bytes) -> bool:
    """Whether an empty line is at its end and nowhere before (section 4.4.1).

    Anything else would let two readers see two different messages.
    """
    found = _EMPTY_LINE.search(block)
    return found is not None and found.end() == len(block) and block.endswith(_END)
