"""Compressed files of several streams, damaged anywhere: all of the content, or an error."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
from collections.abc import Callable

import pytest
import zstandard

from inkgate.config.unpacking import MAGIC_BYTES, opener_of, unpacking_errors

FIRST = b"".join(b"a%d.example\n" % n for n in range(1000))
SECOND = b"".join(b"b%d.example\n" % n for n in range(1000))


def checked_zstandard(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_checksum=True).compress(data)


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstandard": checked_zstandard,
}
EMPTY_FRAME = b"\x5a\x2a\x4d\x18\x03\0\0\0abc"


def unpacked(data: bytes) -> bytes:
    opener = opener_of(data[:MAGIC_BYTES], "publisher", "a test")
    assert opener is not None
    return opener(io.BytesIO(data)).read()


@pytest.mark.parametrize("pack", PACKERS.values(), ids=PACKERS)
def test_all_streams_are_read(pack: Callable[[bytes], bytes]) -> None:
    assert unpacked(pack(FIRST) + pack(b"") + pack(SECOND)) == FIRST + SECOND


@pytest.mark.parametrize("pack", PACKERS.values(), ids=PACKERS)
def test_flipped_byte_in_a_later_stream_is_damage(pack: Callable[[bytes], bytes]) -> None:
    """A flip in the header of the second of two streams made Python's readers end before it."""
    first, second = pack(FIRST), pack(SECOND)
    for place in range(0, len(second), max(1, len(second) // 60)):
        data = bytearray(first + second)
        data[len(first) + place] ^= 0x55
        try:
            found = unpacked(bytes(data))
        except (OSError, *unpacking_errors()):
            continue
        # Some bytes mean nothing, such as the time in gzip's header.
        assert found == FIRST + SECOND


@pytest.mark.parametrize("pack", PACKERS.values(), ids=PACKERS)
def test_later_stream_that_is_cut_off_is_damage(pack: Callable[[bytes], bytes]) -> None:
    first, second = pack(FIRST), pack(SECOND)
    for size in (1, 3, 8, len(second) // 2, len(second) - 1):
        with pytest.raises((OSError, *unpacking_errors())):
            unpacked(first + second[:size])


@pytest.mark.parametrize("pack", PACKERS.values(), ids=PACKERS)
@pytest.mark.parametrize(
    "rest", [b"\n", b"x", b"BZ", b"not packed at all\n" * 9, b"\0x", b"\0\0\0\0x"]
)
def test_what_follows_and_is_no_stream_is_damage(
    pack: Callable[[bytes], bytes], rest: bytes
) -> None:
    with pytest.raises((OSError, *unpacking_errors())):
        unpacked(pack(FIRST) + rest)


@pytest.mark.parametrize(("pack", "zeros"), [(gzip.compress, 7), (lzma.compress, 200_000)])
def test_padding_that_a_format_allows_is_no_damage(
    pack: Callable[[bytes], bytes], zeros: int
) -> None:
    """Python's reader of xz gave nothing of what follows it."""
    padded = pack(FIRST) + bytes(zeros) + pack(SECOND) + bytes(zeros)
    assert unpacked(padded) == FIRST + SECOND


def test_padding_that_a_format_has_not_is_damage() -> None:
    for packed in (lzma.compress(FIRST) + bytes(3), bz2.compress(FIRST) + bytes(4)):
        with pytest.raises((OSError, *unpacking_errors())):
            unpacked(packed)


def test_frames_without_content_are_passed_over() -> None:
    first, second = checked_zstandard(FIRST), checked_zstandard(SECOND)
    data = EMPTY_FRAME + first + EMPTY_FRAME + second + EMPTY_FRAME
    assert unpacked(data) == FIRST + SECOND


@pytest.mark.parametrize("pack", [bz2.compress, lzma.compress])
def test_bomb_is_unpacked_in_small_parts(pack: Callable[[bytes], bytes]) -> None:
    opener = opener_of((data := pack(bytes(1 << 26)))[:MAGIC_BYTES], "publisher", "a test")
    assert opener is not None
    file = opener(io.BytesIO(data))
    assert len(data) < 100_000
    assert all(len(file.read(1 << 10)) == 1 << 10 for _ in range(100))
