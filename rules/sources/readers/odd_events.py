"""MISP events whose members are not of the types that MISP writes, made such as can be read.

PHP writes an empty map as `[]` and a list with a gap as a map. Other tools write numbers and
flags where texts belong. What stays unclear is the one attribute's fault that it stands in.
"""

from __future__ import annotations

import json
from typing import Any, Final

# Has no type, and is refused for that where it is sealed.
_NO_ATTRIBUTE: Final = {"type": "", "value": "", "to_ids": True}
# Python's objects take many times the size of their JSON.
_MOST_BYTES: Final = 64 << 20
_MAX_DEPTH: Final = 8
_HOLDERS: Final = ("Attribute", "Object", "Tag")
_ODD_FLAGS: Final = {"to_ids": False, "published": False, "deleted": True}
_SINGLE: Final = ("Event", "Orgc")


def mended_json(data: bytes) -> bytes | None:
    """The same events as JSON that the strict reader takes.

    Numbers that JSON does not have (1e999, NaN) are none, and a surrogate without its pair makes
    its text one that is refused.

    Returns:
        None if it is no JSON at all, or too much to be taken apart.
    """
    if len(data) > _MOST_BYTES:
        return None
    try:
        document = json.loads(data, parse_constant=lambda _: None, parse_float=_number)
        text = json.dumps(mended_document(document), ensure_ascii=False, allow_nan=False)
    except (ValueError, RecursionError):
        return None
    return text.encode("utf-8", "replace")


def _number(text: str) -> float | None:
    number = float(text)
    return number if abs(number) < float("inf") else None


def mended_document(document: object, depth: int = 0) -> object:
    """A decoded document with members of the types that the strict reader knows."""
    if depth > _MAX_DEPTH:
        return None
    if isinstance(document, list):
        return [mended_document(item, depth + 1) for item in document]
    if not isinstance(document, dict):
        return document
    mended = _scalars(document)
    for name in ("response", "Event"):
        if name in document:
            mended[name] = mended_document(document[name], depth + 1)
    if not isinstance(mended.get("Event", {}), dict | None):
        mended["Event"] = None
    mended["Orgc"] = _organisation(document.get("Orgc"))
    mended["Tag"] = _tags(document.get("Tag"))
    for name, mend in (("Attribute", mended_attribute), ("Object", _object)):
        if name in document:
            mended[name] = [mend(item) for item in items_of(document[name])]
    if "errors" in document:
        mended["errors"] = document["errors"]
    return {name: value for name, value in mended.items() if value is not None}


def mended_attribute(item: object) -> dict[str, Any]:
    """A decoded attribute with members of the types that the strict reader knows."""
    if not isinstance(item, dict):
        return dict(_NO_ATTRIBUTE)
    mended: dict[str, Any] = _scalars(item)
    value = item.get("value")
    if isinstance(value, bool | list | dict):
        # No text, and so no indicator of any type that a request can show: refused as empty.
        mended["value"] = ""
    mended["Tag"] = _tags(item.get("Tag"))
    event = item.get("Event")
    if isinstance(event, dict):
        mended["Event"] = {**_scalars(event), "Orgc": _organisation(event.get("Orgc"))}
    return mended


def _object(item: object) -> dict[str, Any]:
    if not isinstance(item, dict):
        return {"Attribute": [dict(_NO_ATTRIBUTE)]}
    return {
        **_scalars(item),
        "Attribute": [mended_attribute(a) for a in items_of(item.get("Attribute"))],
    }


def _organisation(item: object) -> dict[str, Any] | None:
    return _scalars(item) if isinstance(item, dict) else None


def _tags(items: object) -> list[dict[str, Any]]:
    """Tags with a name, also where a tool writes the names alone."""
    found = ({"name": item} if isinstance(item, str) else item for item in items_of(items))
    return [_scalars(item) for item in found if isinstance(item, dict)]


def items_of(holder: object) -> list[object]:
    """What a list holds, also one with a gap, which PHP writes as a map."""
    if isinstance(holder, dict):
        return list(holder.values())
    return holder if isinstance(holder, list) else []


def _scalars(item: dict[str, Any]) -> dict[str, Any]:
    """The members that are texts, numbers or flags; a flag where a text belongs as a text."""
    mended = {
        name: _scalar(name, value)
        for name, value in item.items()
        if name not in (*_HOLDERS, *_SINGLE) and isinstance(value, str | int | float | None)
    }
    # Flags that are none: on the side on which nothing is blocked that nobody asked for.
    mended |= {name: odd for name, odd in _ODD_FLAGS.items() if name in item and name not in mended}
    return mended


def _scalar(name: str, value: object) -> object:
    if name in _ODD_FLAGS:
        return bool(value) if isinstance(value, float) else value
    return str(value).lower() if isinstance(value, bool) else value
