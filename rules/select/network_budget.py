"""Room for networks, watched while they come (docs/format.md, section 6).

A set has few prefix lengths, so networks of many lengths are sealed as the pieces that they
consist of. What one source lists must not stop what all others list: networks for whose
pieces there is no room are refused, and said, while they are read.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import msgspec

from inkgate.config.errors import Unreadable
from inkgate.rules.canonical import Refused, canonical_attribute
from inkgate.rules.select.indicators import SHORTEST
from inkgate.rules.select.network_lengths import (
    FULL,
    MOST_LENGTHS,
    MOST_PIECES,
    NETWORK_CLASSES,
    kept_lengths,
    length_of,
    pieces_needed,
)
from inkgate.rules.select.selection import Selection
from inkgate.rules.sources.attribute import Attribute

NO_ROOM: Final = "a network for whose prefix length there is no room"
# Read without making a canonical form, which takes ten times as long.
_PLAIN: Final = re.compile(r"(?:[0-9.]+|2[0-9a-fA-F]{3}:[0-9a-fA-F:]*)/[0-9]{1,3}")
_REMEDY: Final = "leave that out of [rules] sources, or its networks by [rules.select]"
# Choosing the lengths anew takes a while: for each new length, as pieces double, and a few times
# in vain.
_CHOICES: Final = 200


class NetworkBudget:
    """Counts networks of attributes, and refuses those for which there is no room.

    Args:
        selection: which attributes become rules: others need no room.
    """

    def __init__(self, selection: Selection) -> None:
        self._selection = selection
        # Full addresses are listed in nearly every set, and among the canaries of each.
        self._lengths = {version: {full: 1} for version, full in FULL.items()}
        self._kept: dict[str, tuple[int, ...]] = {
            version: (full,) for version, full in FULL.items()
        }
        self._made = 0
        self._next_choice = MOST_PIECES >> 6
        self._choices = _CHOICES
        self._refused = 0
        self._place = ""

    def checked(self, attribute: Attribute) -> Attribute:
        """An attribute as it is, or refused."""
        # Addresses without a length take no room: theirs always stays.
        if attribute.type not in NETWORK_CLASSES or "/" not in attribute.value:
            return attribute
        if attribute.refused or attribute.skipped or self._selection.skip_reason(attribute):
            return attribute
        network = _network(attribute)
        if network is None or self._takes(*network):
            return attribute
        self._refused += 1
        self._place = self._place or attribute.place.rpartition(":")[0] or "a source"
        return msgspec.structs.replace(attribute, refused=NO_ROOM)

    def fault(self) -> Unreadable | None:
        """What to say of the networks that were refused since the last call."""
        refused, place = self._refused, self._place
        self._refused, self._place = 0, ""
        if not refused:
            return None
        problem = f"lists networks of so many prefix lengths that {refused:,} found no room"
        return Unreadable(Path(place), None, problem, _REMEDY)

    def _takes(self, version: str, length: int) -> bool:
        counts = self._lengths[version]
        if length not in counts and len(counts) < MOST_LENGTHS[version]:
            self._kept[version] = tuple(sorted((*self._kept[version], length)))
        counts[length] = counts.get(length, 0) + 1
        made = self._made + pieces_needed({length: 1}, self._kept[version])
        if made <= self._next_choice:
            self._made = made
            return True
        if self._choose():
            return True
        counts[length] -= 1
        if not counts[length]:
            del counts[length]
        return False

    def _choose(self) -> bool:
        """Choose anew which lengths stay; whether there is room for all networks then."""
        if not self._choices:
            return False
        self._choices -= 1
        kept = {v: kept_lengths(n, MOST_LENGTHS[v]) for v, n in self._lengths.items()}
        made = sum(pieces_needed(counts, kept[v]) for v, counts in self._lengths.items())
        has_room = made <= MOST_PIECES
        if has_room:
            self._kept, self._made = kept, made
            self._next_choice = max(self._next_choice, min(2 * made, MOST_PIECES))
        if not self._choices:
            self._next_choice = MOST_PIECES
        return has_room


def _network(attribute: Attribute) -> tuple[str, int] | None:
    """IP version and prefix length; None if it is no network that is sealed."""
    text = attribute.value
    if not _PLAIN.fullmatch(text):
        try:
            text = canonical_attribute(attribute.type, text).parts[0]
        except Refused:
            return None
    version, length = length_of(text)
    return (version, length) if SHORTEST[version] <= length <= FULL[version] else None
