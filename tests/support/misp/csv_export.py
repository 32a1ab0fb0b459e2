"""Attributes as MISP's CSV: a header, then a line each, and an empty line."""

from __future__ import annotations

from typing import Any

from support.misp.answers import Query


class CsvText(str):
    """An answer that is no JSON."""

    __slots__ = ()


def csv_of(rows: list[dict[str, Any]], query: Query) -> str:
    """POST /attributes/restSearch with returnFormat csv and requested_attributes.

    Numbers stand without quotes, what is missing is `""`.
    """
    columns = query["requested_attributes"]
    lines = [",".join(columns)]
    lines += [",".join(_field(_value(row, name)) for name in columns) for row in rows]
    return "".join(f"{line}\n" for line in lines) + "\n"


def _value(row: dict[str, Any], name: str) -> str:
    tags = row.get("Tag", [])
    found = {
        "attribute_tag": ",".join(t["name"] for t in tags if not t.get("inherited")),
        "event_tag": ",".join(t["name"] for t in tags if t.get("inherited")),
        "event_source_org": row["Event"].get("Orgc", {}).get("name", ""),
    }
    return str(found.get(name, row.get(name) or ""))


def _field(text: str) -> str:
    quoted = text.replace('"', '""')
    return text if text.isdigit() else f'"{quoted}"'
