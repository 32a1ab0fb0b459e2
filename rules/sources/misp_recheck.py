"""What changes in a MISP without a trace in its versions, found by names instead of contents.

An object that is deleted for good by the API, a merge of events, the members of a sharing
group, an organisation's name, the organisation of the reader, and whether a tag is exportable
change no timestamp (measured with MISP 2.5.1). So each attribute's UUID, event, tags and
organisation are asked for now and then, as CSV: a tenth of what the attributes take. An event
that does not have what the mirror has of it, or what it had the last time, is read again.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from inkgate.rules.sources.mirror import Mirror
from inkgate.rules.sources.misp_api import COLUMNS, EventState, MispApi

_BITS: Final = (1 << 128) - 1


class Seen:
    """A set of names, and whatever else a row has, whose order does not matter.

    Attributes:
        names: the sum of the hashes of the UUIDs.
        rows: that of whole rows.
    """

    def __init__(self) -> None:
        self.names = self.rows = 0

    def add(self, uuid: str, row: Sequence[str]) -> None:
        """Count one attribute."""
        self.names = (self.names + _hash(uuid)) & _BITS
        self.rows = (self.rows + _hash("\0".join(row))) & _BITS

    @property
    def text(self) -> str:
        """To be compared with that of the next time."""
        return f"{self.rows:032x}"


def events_that_differ(mirror: Mirror, api: MispApi, events: Mapping[str, EventState]) -> list[str]:
    """Look at all events by name; the UUIDs of those that must be read again.

    What is seen of each is noted in the mirror, for the next time.
    """
    seen = _seen(api.names(), {str(event.id): event.uuid for event in events.values()})
    had = _held(mirror.names())
    before = mirror.marks()
    unexportable = api.unexportable_tags()
    is_other = before.get("", unexportable) != unexportable
    differing = [
        uuid
        for uuid in events
        if is_other
        or seen[uuid].names != had[uuid]
        or before.get(uuid, seen[uuid].text) != seen[uuid].text
    ]
    mirror.mark({"": unexportable, **{uuid: seen[uuid].text for uuid in events}})
    return differing


def _seen(rows: Iterable[Sequence[str]], events: Mapping[str, str]) -> dict[str, Seen]:
    uuid, event = COLUMNS.index("uuid"), COLUMNS.index("event_id")
    found: dict[str, Seen] = defaultdict(Seen)
    for row in rows:
        if home := events.get(row[event]):
            found[home].add(row[uuid], row)
    return found


def _held(names: Iterator[tuple[str, str]]) -> dict[str, int]:
    found: dict[str, int] = defaultdict(int)
    for event, uuid in names:
        found[event] = (found[event] + _hash(uuid)) & _BITS
    return found


def _hash(text: str) -> int:
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16)
    return int.from_bytes(digest.digest())
