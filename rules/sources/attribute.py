"""One MISP attribute, the same whatever source it came from."""

from __future__ import annotations

import msgspec


class Attribute(msgspec.Struct, frozen=True, gc=False):
    """An attribute as MISP's core format has it; texts that a source lacks are empty.

    Attributes:
        source: the name of a list that knows no UUIDs.
        place: where to look for it when it cannot be used, as in `list.txt:7`.
        refused: why its source could not make sense of it; a fixed phrase.
        skipped: why its source holds nothing to block there; a fixed phrase.
        is_more: whether it is one more value of a line or row whose first one came before.
    """

    type: str
    value: str
    uuid: str
    event_id: str = ""
    event_uuid: str = ""
    event_info: str = ""
    org: str = ""
    date: str = ""
    category: str = ""
    comment: str = ""
    timestamp: str = ""
    to_ids: bool = False
    deleted: bool = False
    published: bool = True
    last_seen: str = ""
    tags: tuple[str, ...] = ()
    object_relation: str = ""
    object_uuid: str = ""
    source: str = ""
    place: str = ""
    refused: str = ""
    skipped: str = ""
    is_more: bool = False
