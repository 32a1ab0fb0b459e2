"""MISP's CSV export: one attribute a row, named columns in any order."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

from inkgate.rules.sources.attribute import Attribute
from inkgate.rules.sources.readers.file_format import FileFormat
from inkgate.rules.sources.readers.source_file import SourceFile

_NEEDED: Final = ("uuid", "type", "value")
_REMEDY: Final = "export it again"
_MAX_FIELD: Final = 1 << 20
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
    """All attributes of a CSV export.

    The whole file is checked before the first attribute is given, so a file that was
    cut off gives none.

    Raises:
        Unreadable: whatever is wrong with the file, with the line.
    """
    yield from list(_rows(file))


def _rows(file: SourceFile) -> Iterator[Attribute]:
    try:
        text = file.read_all().decode()
    except UnicodeDecodeError:
        raise file.unreadable("is not UTF-8", _REMEDY) from None
    if text and not text.endswith("\n"):
        raise file.unreadable("is cut off in its last row", _REMEDY, text.count("\n") + 1)
    csv.field_size_limit(_MAX_FIELD)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    header: list[str] | None = None
    try:
        for row in reader:
            if not row:
                continue
            if header is None:
                header = _header(file, row)
            elif len(row) != len(header):
                raise file.unreadable(
                    f"has {len(row)} columns, its header {len(header)}", _REMEDY, reader.line_num
                )
            else:
                yield _attribute(dict(zip(header, row, strict=True)))
    except csv.Error:
        raise file.unreadable(
            "is not CSV, or is cut off in a quoted field", _REMEDY, reader.line_num
        ) from None
    if header is None:
        raise file.unreadable("is empty", _REMEDY)


def _header(file: SourceFile, row: list[str]) -> list[str]:
    header = [name.strip() for name in row]
    missing = [name for name in _NEEDED if name not in header]
    if missing:
        raise file.unreadable(
            f"has no column {', '.join(missing)}", "export CSV from MISP with its header", 1
        )
    return header


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
