"""Spamhaus DROP in JSON: an object a line, each with one network (`cidr`)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from inkgate.rules.sources.attribute import Attribute
from inkgate.rules.sources.readers.file_format import FileFormat
from inkgate.rules.sources.readers.source_file import SourceFile

_REMEDY: Final = "get the list again"
_MOST_LINES: Final = 1_000_000


class _Entry(msgspec.Struct):
    type: str = ""
    cidr: str = ""
    sblid: str | int | None = ""


_DECODER: Final = msgspec.json.Decoder(_Entry)


def read_drop(file: SourceFile) -> Iterator[Attribute]:
    """The networks of a list.

    The whole file is decoded before the first is given, so a file that was cut off gives none.

    Raises:
        Unreadable: a line is no object, or the line with the list's own figures is missing,
            which is the last one.
    """
    file.check_whole()
    entries = []
    for number, line in enumerate(file.lines(), 1):
        if number > _MOST_LINES:
            raise file.unreadable("has more lines than any list of networks", _REMEDY, number)
        entries.append(_entry(file, number, line))
    if not any(entry and entry.type == "metadata" for entry in entries):
        raise file.unreadable("is cut off: its last line tells how long it is", _REMEDY)
    for number, entry in enumerate(entries, 1):
        yield _attribute(entry, file.name, f"{file.name}:{number}")


def _entry(file: SourceFile, number: int, line: str) -> _Entry | None:
    if not line.strip():
        return None
    try:
        return _DECODER.decode(line)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        raise file.unreadable("is no list of networks in JSON", _REMEDY, number) from None


def _attribute(entry: _Entry | None, name: str, place: str) -> Attribute:
    skipped = "remark or blank" if entry is None or entry.type == "metadata" else ""
    value = entry.cidr if entry else ""
    return Attribute(
        type="ip-dst", value=value, uuid="", to_ids=True, source=name, place=place,
        comment=str(entry.sblid or "") if entry else "", skipped=skipped,
    )  # fmt: skip


def _is_drop(file: SourceFile) -> bool:
    first = file.head.lstrip().partition(b"\n")[0]
    return first.startswith(b"{") and b'"cidr"' in first


FORMAT: Final = FileFormat("Spamhaus DROP", (".json", ".jsonl", ".ndjson"), _is_drop, read_drop)
