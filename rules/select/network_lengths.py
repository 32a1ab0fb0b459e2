"""How many prefix lengths a set has (docs/format.md, section 6).

A look-up asks for each length, so a set has few. If networks of more lengths are listed,
those of some lengths are sealed as the networks of the next longer one that they consist
of. Which lengths stay is chosen so that this makes as few networks as possible.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from inkgate.rules.canonical import ObservedAt, classes_at

# In these classes networks can be listed.
NETWORK_CLASSES: Final = frozenset(classes_at(ObservedAt.ADDRESS, ObservedAt.CLIENT))
FULL: Final = {"4": 32, "6": 128}
MOST_LENGTHS: Final = {"4": 8, "6": 16}
MOST_PIECES: Final = 1_000_000

Lengths = Mapping[str, tuple[int, ...]]
"""Prefix lengths by IP version, shortest first."""


def length_of(network: str) -> tuple[str, int]:
    """IP version and prefix length of a canonical address or network."""
    address, _, length = network.partition("/")
    version = "6" if ":" in address else "4"
    return version, int(length or FULL[version])


def kept_lengths(counts: Mapping[int, int], most: int) -> tuple[int, ...]:
    """The lengths that stay, shortest first; the longest is one of them.

    Args:
        counts: how many networks are listed, by length.
        most: so many may stay.
    """
    lengths = sorted(counts)
    if len(lengths) <= most:
        return tuple(lengths)
    costs = _costs(counts, lengths)
    # best[i]: what it costs to keep the i-th length and provide for all shorter ones, and which
    # are kept then.
    best: list[tuple[int, tuple[int, ...]]]
    best = [(costs[0][i], (length,)) for i, length in enumerate(lengths)]
    for _ in range(most - 1):
        best = [min(_with_one_more(best, costs, lengths, i)) for i in range(len(lengths))]
    return best[-1][1]


def _with_one_more(
    best: list[tuple[int, tuple[int, ...]]], costs: list[list[int]], lengths: list[int], i: int
) -> Iterator[tuple[int, tuple[int, ...]]]:
    yield best[i]
    for j in range(i):
        cost, kept = best[j]
        yield cost + costs[j + 1][i], (*kept, lengths[i])


def pieces_needed(counts: Mapping[int, int], kept: Iterable[int]) -> int:
    """So many networks are sealed in place of those whose length does not stay."""
    kept = tuple(kept)
    return sum(
        count << next_kept(length, kept) - length
        for length, count in counts.items()
        if length not in kept
    )


def next_kept(length: int, kept: Iterable[int]) -> int:
    """The length itself if it stays, else the next longer one that does."""
    return min(other for other in kept if other >= length)


def pieces(network: str, length: int) -> Iterator[str]:
    """The canonical networks of a length that a canonical network consists of."""
    for piece in ipaddress.ip_network(network).subnets(new_prefix=length):
        yield str(piece.network_address if length == piece.max_prefixlen else piece)


def gated_lengths(kept: Lengths) -> dict[str, tuple[int, ...]]:
    """The lengths at which a look-up asks the gate: those that stay, and full addresses."""
    return {
        version: tuple(sorted({*kept.get(version, ()), full})) for version, full in FULL.items()
    }


def _costs(counts: Mapping[int, int], lengths: list[int]) -> list[list[int]]:
    """[first][last]: what it costs to seal networks of these lengths as those of the last."""
    costs = []
    for first in range(len(lengths)):
        row = [0] * (first + 1)
        for last in range(first + 1, len(lengths)):
            before = lengths[last - 1]
            row.append((row[-1] + counts[before]) << lengths[last] - before)
        costs.append(row)
    return costs
