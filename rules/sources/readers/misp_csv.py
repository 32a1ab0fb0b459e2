"""MISP's CSV export: one attribute a row, named columns in any order."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

from inkgate.rules.sources.attribute import Attribute
from inkgate.rules.sources.readers.csv_lines import NO_CSV, CsvLines, check_whole, rows
from inkgate.rules.sources.readers.file_format import FileFormat
from inkgate.rules.sources.readers.lenient_json import without_damage
from inkgate.rules.sources.readers.source_file import SourceFile

_NEEDED: Final = ("uuid", "type", "value")
_REMEDY: Final = "export it again"
OTHER_COLUMNS: Final = "not as many columns as the header names"
NO_TEXT: Final = "bytes that are no UTF-8"
# Column names of MISP's export and of its older versions, by our name.
_COLUMNS: Final = {
    "type": ("type",),
    "value": ("value",),
    "uuid": ("uuid",),
    "event_id": ("event_id",),
    "event_uuid": ("event_uuid",),
    "event_info": ("event_info",),
    "org": ("event_source_org", "event_member_org"),
    "category": ("category",),
    "comment": ("comment",),
    "timestamp": ("timestamp",),
    "object_relation": ("object_relation",),
    "object_uuid": ("object_uuid",),
}


def read_csv_file(file: SourceFile) -> Iterator[Attribute]:
    """All attributes of a CSV export; a row that is odd is refused alone.

    The whole file is looked through before the first attribute is given, so a file that was
    cut off gives none.

    Raises:
        Unreadable: whatever is wrong with the file, with the line.
    """
    check_whole(file, _rows(file))
    first = next(((number, row) for number, row in _rows(file) if row), None)
    if first is None:
        raise file.unreadable("is empty", _REMEDY)
    header_at, header = first[0], _header(file, first[1])
    for number, row in _rows(file):
        if row != [] and number != header_at:
            yield _read(header, row, f"{file.name}:{number}")


def _rows(file: SourceFile) -> Iterator[tuple[int, list[str] | None]]:
    """The rows with the number of their last line."""
    lines = CsvLines(file)
    reader = csv.reader(lines, strict=True)
    for row in rows(lines, reader, file):
        yield reader.line_num, row


def _header(file: SourceFile, row: list[str]) -> list[str]:
    header = [name.strip() for name in row]
    missing = [name for name in _NEEDED if name not in header]
    if missing:
        raise file.unreadable(
            f"has no column {', '.join(missing)}", "export CSV from MISP with its header", 1
        )
    return header


def _read(header: list[str], row: list[str] | None, place: str) -> Attribute:
    if row is None:
        return _refused(NO_CSV, place)
    if len(row) != len(header):
        return _refused(OTHER_COLUMNS, place)
    texts = dict(zip(header, row, strict=True))
    sound = without_damage(texts)
    if any(sound[name] != texts[name] for name in _NEEDED):
        return _refused(NO_TEXT, place)
    return _attribute({name: str(text) for name, text in sound.items()})


def _refused(reason: str, place: str) -> Attribute:
    return Attribute(type="", value="", uuid="", to_ids=True, place=place, refused=reason)


def _attribute(row: dict[str, str]) -> Attribute:
    texts = {
        ours: next((row[name] for name in names if row.get(name)), "")
        for ours, names in _COLUMNS.items()
    }
    return Attribute(
        type=texts["type"],
        value=texts["value"],
        uuid=texts["uuid"],
        event_id=texts["event_id"],
        event_uuid=texts["event_uuid"],
        event_info=texts["event_info"],
        org=texts["org"],
        category=texts["category"],
        comment=texts["comment"],
        timestamp=texts["timestamp"],
        object_relation=texts["object_relation"],
        object_uuid=texts["object_uuid"],
        date=_date(row.get("date") or row.get("event_date") or ""),
        # An export without the column was made with to_ids as its condition (MISP's
        # default for CSV).
        to_ids=row.get("to_ids", "1").strip().lower() in ("1", "true"),
        deleted=row.get("deleted", "").strip().lower() in ("1", "true"),
        tags=tuple(t for t in row.get("attribute_tag", "").split(",") if t),
    )


def _date(text: str) -> str:
    """MISP writes seconds since 1970, some versions YYYYMMDD."""
    if not (text.isascii() and text.isdigit()):
        return text
    if len(text) == 8:
        return f"{text[:4]}-{text[4:6]}-{text[6:]}"
    try:
        return datetime.fromtimestamp(int(text), UTC).date().isoformat()
    except (ValueError, OverflowError, OSError):
        return text


def _is_csv(file: SourceFile) -> bool:
    first = file.beginning.lstrip().partition("\n")[0]
    names = {name.strip().strip('"') for name in first.split(",")}
    return names.issuperset(_NEEDED)


FORMAT: Final = FileFormat("MISP CSV", (".csv",), _is_csv, read_csv_file)
