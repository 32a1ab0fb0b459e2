"""Which hosts, servers and User-Agents are asked for most, from a sample, in bounded memory."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from operator import itemgetter
from typing import Final, Literal

from inkgate.rules.lookup.clean_parts import is_short

RequestPart = Literal["agent", "server", "host"]

_SERVERS: Final = 1000
_AGENTS: Final = 1000
# So many are counted for each one that is wanted, so that forgetting the rare ones is
# seldom needed.
_COUNTED: Final = 4
_COUNT: Final = itemgetter(1)
_LAST: Final = itemgetter(-1)


class Hottest:
    """Counts of keys, in bounded memory.

    When there are too many keys, the rarer half is forgotten and all counts are halved,
    so that what was frequent long ago is forgotten, too. One thread counts; others may
    ask.

    Args:
        limit: so many different keys are counted.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._counts: dict[bytes, int] = {}

    def count(self, key: bytes) -> None:
        """Count one."""
        counts = self._counts
        counts[key] = counts.get(key, 0) + 1
        if len(counts) > self._limit:
            self._thin_out()

    def most(self, number: int) -> list[tuple[bytes, int]]:
        """The most frequent ones with their counts, hottest first."""
        return heapq.nlargest(number, self._counts.copy().items(), key=_COUNT)

    def __len__(self) -> int:
        return len(self._counts)

    def _thin_out(self) -> None:
        self._counts = {key: (count + 1) // 2 for key, count in self.most(self._limit // 2)}


class HotParts:
    """What is asked for most, by its spelling in a front end's requests.

    Args:
        hosts: so many of the hottest hosts are of interest; of servers and User-Agents
            it is a thousand each.
    """

    def __init__(self, hosts: int) -> None:
        self._numbers: dict[RequestPart, int] = {
            "agent": _AGENTS,
            "server": _SERVERS,
            "host": hosts,
        }
        self._counts = {part: Hottest(number * _COUNTED) for part, number in self._numbers.items()}

    def count(self, part: RequestPart, spelled: bytes) -> None:
        """Count one, unless it is empty or too long to be remembered."""
        if spelled and is_short(spelled):
            self._counts[part].count(spelled)

    def most(self) -> Iterator[tuple[RequestPart, bytes]]:
        """The hottest hosts, servers and User-Agents, hottest first, whatever they are."""
        ranked = [
            [(part, *found) for found in self._counts[part].most(number)]
            for part, number in self._numbers.items()
        ]
        for part, spelled, _ in heapq.merge(*ranked, key=_LAST, reverse=True):
            yield part, spelled
