"""The thesis's Bloom filter, the file `joker`: pybloom's binary format, which holds no pickle.

Header: error rate (binary64), slices, bits a slice, capacity, count (64 bits each),
all little-endian; then the bits, the least significant first. Slice i has one bit per
value: the i-th integer of H(H(i') || value), with H and the integers' width chosen by
the sizes, and i' counting digests.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from inkgate.rules.foreign.errors import ForeignError
from inkgate.rules.foreign.files import read_bounded

MAX_BYTES: Final = 1 << 28
MAX_SLICES: Final = 128
_HEADER: Final = struct.Struct("<dQQQQ")
_AGAIN: Final = "ask for the rules again"
# Hash functions by the number of bits that all slices need together: the shortest
# digest that has so many bits is used.
_DIGESTS: Final = ((384, "sha512"), (256, "sha384"), (160, "sha256"), (128, "sha1"), (-1, "md5"))


@dataclass(frozen=True)
class BloomFilter:
    """A filter as read.

    Attributes:
        error_rate: the fraction of unlisted values that pass when `capacity` are in it.
        count: values added, without those that were found in it already.
    """

    error_rate: float
    slices: int
    slice_bits: int
    capacity: int
    count: int
    bits: bytes = field(repr=False)

    def __contains__(self, value: bytes) -> bool:
        """Whether the value may be listed."""
        numbers = slice_numbers(value, self.slices, self.slice_bits)
        return all(self._bit(i * self.slice_bits + n) for i, n in enumerate(numbers))

    def fill(self) -> float:
        """The fraction of bits that are set."""
        return int.from_bytes(self.bits).bit_count() / (self.slices * self.slice_bits)

    def _bit(self, number: int) -> bool:
        return bool(self.bits[number >> 3] >> (number & 7) & 1)


@dataclass(frozen=True)
class TokenFilter:
    """A Bloom filter whose values have the token behind them."""

    bloom: BloomFilter
    token: bytes = field(repr=False)

    def __contains__(self, password: bytes) -> bool:
        """Whether the password may be listed."""
        return password + self.token in self.bloom


def slice_numbers(value: bytes, slices: int, slice_bits: int) -> Iterator[int]:
    """The number of a value's bit in each slice."""
    letter, width = ("Q", 8) if slice_bits >= 1 << 31 else ("I", 4)
    if slice_bits < 1 << 15:
        letter, width = "H", 2
    needed = 8 * slices * width
    name = next(digest for bits, digest in _DIGESTS if needed > bits)
    given = 0
    for index in range(slices):
        salt = hashlib.new(name, struct.pack("<I", index), usedforsecurity=False).digest()
        digest = hashlib.new(name, salt + value, usedforsecurity=False).digest()
        for (number,) in struct.iter_unpack(f"<{letter}", digest[: len(digest) // width * width]):
            if given == slices:
                return
            given += 1
            yield number % slice_bits


def read_bloom_filter(path: Path) -> BloomFilter:
    """Read a `joker` file.

    Raises:
        ForeignError: it is not one, or larger than 256 MiB.
    """
    data = read_bounded(path, MAX_BYTES)
    if len(data) < _HEADER.size:
        raise ForeignError(path, None, "is cut off", _AGAIN)
    rate, slices, slice_bits, capacity, count = _HEADER.unpack_from(data)
    if not 0 < rate < 1 or not 1 <= slices <= MAX_SLICES or slice_bits < 1:
        raise ForeignError(path, None, "is not a Bloom filter of pybloom", _AGAIN)
    # Python's integers do not overflow, so a header that claims 2^60 bits is refused here.
    if (slices * slice_bits + 7) // 8 != len(data) - _HEADER.size:
        raise ForeignError(
            path, None, f"claims {slices * slice_bits:,} bits and has not as many", _AGAIN
        )
    return BloomFilter(rate, slices, slice_bits, capacity, count, data[_HEADER.size :])
