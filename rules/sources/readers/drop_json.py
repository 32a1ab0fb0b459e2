"""Spamhaus DROP in JSON: an object a line, each with one network (`cidr`)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from inkgate.rules.sources.attribute import Attribute
from inkgate.rules.sources.readers.file_format import FileFormat
from inkgate.rules.sources.readers.source_file import SourceFile

_REMEDY: Final = "get the list again"
_MOST_LINES: Final = 1_000_000
_METADATA: Final = '"metadata"'


NO_NETWORK: Final = "not a line of a list of networks"


class _Entry(msgspec.Struct):
    type: Any = ""
    cidr: Any = ""
    sblid: Any = ""


_DECODER: Final = msgspec.json.Decoder(_Entry)


def read_drop(file: SourceFile) -> Iterator[Attribute]:
    """The networks of a list; a line that is odd is refused alone.

    The whole file is looked through before the first is given, so a file that was cut off
    gives none.

    Raises:
        Unreadable: the line with the list's own figures is missing, which is the last one.
    """
    file.check_whole()
    is_whole = False
    number = 0
    for number, line in enumerate(file.lines(), 1):
        if number > _MOST_LINES:
            raise file.unreadable("has more lines than any list of networks", _REMEDY, number)
        is_whole = is_whole or (_METADATA in line and _is_metadata(_entry(line)))
    if not is_whole:
        raise file.unreadable("is cut off: its last line tells how long it is", _REMEDY, number)
    for number, line in enumerate(file.lines(), 1):
        yield _attribute(line, file.name, f"{file.name}:{number}")


def _entry(line: str) -> _Entry | None:
    try:
        return _DECODER.decode(line.encode("utf-8", "replace"))
    except (msgspec.MsgspecError, RecursionError):
        return None


def _is_metadata(entry: _Entry | None) -> bool:
    return entry is not None and entry.type == "metadata"


def _attribute(line: str, name: str, place: str) -> Attribute:
    entry = _entry(line) if line.strip() else None
    says_nothing = not line.strip() or _is_metadata(entry)
    value = entry.cidr if entry and isinstance(entry.cidr, str) else ""
    sblid = entry.sblid if entry and isinstance(entry.sblid, str | int) else ""
    return Attribute(
        type="ip-dst", value=value, uuid="", to_ids=True, source=name, place=place,
        comment=str(sblid), skipped="remark or blank" if says_nothing else "",
        refused="" if says_nothing or value else NO_NETWORK,
    )  # fmt: skip


def _is_drop(file: SourceFile) -> bool:
    first = file.head.lstrip().partition(b"\n")[0]
    return first.startswith(b"{") and b'"cidr"' in first


FORMAT: Final = FileFormat("Spamhaus DROP", (".json", ".jsonl", ".ndjson"), _is_drop, read_drop)
