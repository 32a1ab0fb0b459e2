"""Which names are asked for most, from a sample and in bounded memory."""

from __future__ import annotations

import heapq


class Hottest:
    """Counts, halved and thinned out whenever there are too many.

    What is rare is forgotten first, and so is what was frequent long ago. One thread
    counts; others may ask.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._counts: dict[bytes, int] = {}

    def saw(self, key: bytes) -> None:
        """Count one."""
        counts = self._counts
        counts[key] = counts.get(key, 0) + 1
        if len(counts) > self._limit:
            self._thin_out()

    def most(self, number: int) -> list[bytes]:
        """The most frequent ones, hottest first."""
        counts = self._counts.copy()
        return heapq.nlargest(number, counts, key=counts.__getitem__)

    def __len__(self) -> int:
        return len(self._counts)

    def _thin_out(self) -> None:
        kept = self.most(self._limit // 2)
        self._counts = {key: (self._counts[key] + 1) // 2 for key in kept}
