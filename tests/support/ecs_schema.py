"""Whether a document is of the Elastic Common Schema, by its published fields."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

Json = dict[str, Any]

_FILE: Final = Path(__file__).parents[1] / "vectors" / "export" / "ecs.json"
SCHEMA: Final[Json] = json.loads(_FILE.read_text())
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
# What Elasticsearch takes of a keyword.
_MOST: Final = 1024


def faults(document: Json) -> list[str]:
    """What is wrong with a document; nothing if it is one."""
    found = [fault for name, value in _flat(document) for fault in _of_field(name, value)]
    found += [
        f"{name} is missing"
        for name in ("@timestamp", "ecs.version")
        if _at(document, name) is None
    ]
    if _at(document, "ecs.version") != SCHEMA["version"]:
        found.append("ecs.version is another one")
    return found + list(_of_types(document))


def _at(document: Json, name: str) -> Any:
    return dict(_flat(document)).get(name)


def _flat(document: Json, before: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in document.items():
        name = f"{before}{key}"
        if isinstance(value, dict) and name != "labels":
            yield from _flat(value, f"{name}.")
        else:
            yield name, value


def _of_field(name: str, value: Any) -> Iterator[str]:
    field = SCHEMA["fields"].get(name)
    if field is None:
        yield f"{name} is no field"
        return
    is_list = isinstance(value, list)
    if is_list != ("array" in field["normalize"]):
        yield f"{name} is {'a' if is_list else 'no'} list"
    for one in value if is_list else [value]:
        if not _is(one, field["type"]):
            yield f"{name} is {one!r}, which is no {field['type']}"
        if "allowed" in field and one not in field["allowed"]:
            yield f"{name} is {one!r}, which is not allowed"
        if "expected" in field and one not in field["expected"]:
            yield f"{name} is {one!r}, which is not expected"


def _is(value: Any, kind: str) -> bool:
    if kind == "object":
        # Labels: one text, number or truth each, and no dot in a name.
        return isinstance(value, dict) and all(
            isinstance(part, str | int | float) and "." not in key for key, part in value.items()
        )
    if not isinstance(value, str):
        return False
    if kind == "ip":
        try:
            ipaddress.ip_address(value)
        except ValueError:
            return False
    if kind == "date":
        return _DATE.fullmatch(value) is not None
    return len(value) <= _MOST


def _of_types(document: Json) -> Iterator[str]:
    """Each event.type is one that some of the categories expect."""
    event = document.get("event", {})
    allowed = SCHEMA["fields"]["event.category"]["allowed"]
    expected = {kind for name in event.get("category", ()) for kind in allowed.get(name) or ()}
    for kind in event.get("type", ()):
        if kind not in expected:
            yield f"event.type {kind!r} is expected by none of the categories"
