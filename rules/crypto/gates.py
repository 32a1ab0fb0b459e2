"""Gates: bitmaps that say "not listed" or "maybe" (docs/format.md, section 5).

They are meant to answer "maybe" for many values that are not listed. A gate that answered
exactly would tell a thief of the set, for each name that he tries, whether it is listed.
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Iterable
from typing import Final

LEVELS: Final = ("suffix", "url-host")
MIN_BITS: Final = 64
MAX_BITS: Final = 1 << 36


def gate_bits(values: int, epsilon: float) -> int:
    """Size of a gate, in bits, that lets at most a fraction `epsilon` of random values pass.

    A power of two (docs/decisions/0040): the gate of a set that grows seldom changes its
    size; and a value that did not pass the smaller gate of a set does not pass the larger
    one of the same set.

    Raises:
        ValueError: epsilon is not above 0 and below 1 (1 means "no gate").
    """
    if not 0 < epsilon < 1:
        raise ValueError("epsilon lies between 0 and 1")
    needed = max(MIN_BITS, math.ceil(values / -math.log1p(-epsilon)))
    return 1 << (needed - 1).bit_length()


def build_gate(numbers: Iterable[int], values: int, epsilon: float) -> bytes:
    """The bitmap for the 64-bit numbers of so many different values."""
    bits = gate_bits(values, epsilon)
    bitmap = bytearray(bits // 8)
    for number in numbers:
        index = number % bits
        bitmap[index >> 3] |= 1 << (index & 7)
    return bytes(bitmap)


class Gate:
    """A gate as a reader uses it, over any buffer (bytes, or a file mapped to memory)."""

    __slots__ = ("_bitmap", "_bits")

    def __init__(self, bitmap: bytes | mmap.mmap) -> None:
        self._bitmap = bitmap
        self._bits = len(bitmap) * 8

    def passes(self, number: int) -> bool:
        """Whether the value with this number may be listed."""
        index = number % self._bits
        return bool(self._bitmap[index >> 3] >> (index & 7) & 1)
