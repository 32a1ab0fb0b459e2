"""The manifest of a MISP feed: its events by UUID, and when each was changed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from inkgate.config.errors import Unreadable
from inkgate.config.regular_files import NOT_REGULAR, open_regular
from inkgate.config.system_errors import remedy_of
from inkgate.config.whole_file import write_whole
from inkgate.remote.bodies import check_parts
from inkgate.remote.errors import TooLargeError
from inkgate.rules.sources.attribute import Attribute
from inkgate.rules.sources.readers.misp_event import read_event_file
from inkgate.rules.sources.readers.source_file import SourceFile

MANIFEST: Final = "manifest.json"
MODE: Final = 0o600
REMEDY: Final = "check the feed's address"
MAX_BYTES: Final = 128 << 20
MOST_EVENTS: Final = 1_000_000

_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
# Each event has a few for its organisation and tags.
_MOST_PARTS: Final = 16 * MOST_EVENTS


class Entry(msgspec.Struct):
    """What a manifest tells of an event, of which the time of its last change counts."""

    timestamp: str | int | None = 0


def is_event_name(name: str) -> bool:
    """Whether an event's file may have this name: nothing but UUIDs, since it becomes a path."""
    return _UUID.fullmatch(name) is not None


def read_manifest(folder: Path, faults: list[Unreadable]) -> dict[str, Entry]:
    """The manifest in a folder.

    Raises:
        Unreadable: there is none, or it is none.
    """
    path = folder / MANIFEST
    try:
        with open_regular(path) as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        problem = error.strerror or "cannot be read"
        remedy = REMEDY if problem == NOT_REGULAR else remedy_of(error)
        raise Unreadable(path, None, problem, remedy) from None
    if len(data) > MAX_BYTES:
        raise Unreadable(path, None, f"is larger than {MAX_BYTES >> 20} MiB", REMEDY)
    return parse_manifest(data, path, faults)


def parse_manifest(data: bytes, place: Path, faults: list[Unreadable]) -> dict[str, Entry]:
    """The events that a manifest names, without those whose names are no UUIDs.

    Args:
        place: names it in errors.
        faults: such names are added here, as one fault.

    Raises:
        Unreadable: it is no manifest.
    """
    try:
        check_parts(data, _MOST_PARTS)
        manifest = msgspec.json.decode(data, type=dict[str, Entry])
    except TooLargeError as error:
        raise Unreadable(place, None, error.problem, REMEDY) from None
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        raise Unreadable(place, None, "is not a feed's manifest", REMEDY) from None
    events = {name: entry for name, entry in manifest.items() if is_event_name(name)}
    if len(events) < len(manifest):
        problem = f"names {len(manifest) - len(events)} events by something that is no UUID"
        faults.append(Unreadable(place, None, problem, "tell the feed's owner"))
    return events


def read_event(path: Path) -> Iterator[Attribute]:
    """The attributes of one of a feed's events.

    Raises:
        Unreadable: it is none; before the first attribute.
    """
    return read_event_file(SourceFile(path))


def write_manifest(folder: Path, events: dict[str, Entry]) -> None:
    """Keep a manifest.

    Raises:
        OSError: it cannot be written.
    """
    write_whole(folder / MANIFEST, msgspec.json.encode(events), MODE)
