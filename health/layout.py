"""The layout of a counter file: written by one process, read by any other.

    0      8 bytes  magic
    8      4 bytes  length of the header (little endian, as all numbers)
    12     header   JSON: program, process id, start, boot, names of the counters
    64 KiB numbers  one unsigned 64-bit number a counter; for a condition how often it was met,
                    when last (`….last`), and whether it is there now (`….now`)
    128 KiB state   4 bytes length, 4 bytes CRC-32, JSON: what the process says of itself

The header names the counters, so a reader of another version finds those that it knows.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Final

import msgspec

SEEN: Final = "seen.last"
"""The counter of when the process was last seen to work, in seconds since 1970."""
MAGIC: Final = b"INKGATE1"
NUMBERS_AT: Final = 64 * 1024
STATE_AT: Final = 128 * 1024
FILE_BYTES: Final = 192 * 1024
SUFFIX: Final = ".counters"
MAX_NAMES: Final = (STATE_AT - NUMBERS_AT) // 8
_HEADER_AT: Final = 12
_WORDS: Final = struct.Struct("<II")


class Header(msgspec.Struct, frozen=True):
    """Whose numbers these are. Times in seconds since 1970.

    Attributes:
        program: the command, for instance `inkgate-helper`.
        pid: its process id.
        started: when it started.
        boot: which start of the machine that was (random(4), boot_id).
        names: the counters, in the order of their numbers.
    """

    program: str
    pid: int
    started: float
    boot: str
    names: tuple[str, ...]


def encode_header(header: Header) -> bytes:
    """The beginning of a file.

    Raises:
        ValueError: there are too many names.
    """
    data = msgspec.json.encode(header)
    if len(header.names) > MAX_NAMES or _HEADER_AT + len(data) > NUMBERS_AT:
        raise ValueError("too many counters for a file")
    return MAGIC + len(data).to_bytes(4, "little") + data


def decode_header(data: bytes) -> Header | None:
    """The header of a file; None if it is not one of ours."""
    if len(data) != FILE_BYTES or data[:8] != MAGIC:
        return None
    length = int.from_bytes(data[8:_HEADER_AT], "little")
    try:
        header = msgspec.json.decode(data[_HEADER_AT : _HEADER_AT + length], type=Header)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None
    return header if len(header.names) <= MAX_NAMES else None


def decode_numbers(data: bytes, header: Header) -> dict[str, int]:
    """The counters by their names."""
    numbers = struct.unpack_from(f"<{len(header.names)}Q", data, NUMBERS_AT)
    return dict(zip(header.names, numbers, strict=True))


def merged(name: str, one: int, other: int) -> int:
    """Two processes' numbers as one: of times (`….last`) the latest, else the sum."""
    return max(one, other) if name.endswith(".last") else one + other


def boot_id() -> str:
    """Which start of the machine this is."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def encode_state(state: dict[str, str | float]) -> bytes:
    """What a process says of itself, with its length and its checksum.

    Raises:
        ValueError: it is too long.
    """
    data = msgspec.json.encode(state)
    if len(data) > FILE_BYTES - STATE_AT - _WORDS.size:
        raise ValueError("a process says too much of itself")
    return _WORDS.pack(len(data), zlib.crc32(data)) + data


def decode_state(data: bytes) -> dict[str, str | float]:
    """The same; empty while it is being written, or damaged."""
    length, checksum = _WORDS.unpack_from(data, STATE_AT)
    start = STATE_AT + _WORDS.size
    written = data[start : start + length]
    if zlib.crc32(written) != checksum:
        return {}
    try:
        return msgspec.json.decode(written, type=dict[str, str | float])
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return {}
