"""MISP events whose members are not of the types or in the places that MISP has, made readable.

PHP writes an empty map as `[]` and a list with a gap as a map. Other tools write numbers and
flags where texts belong, and attributes where MISP has none. What stays unclear is the one
attribute's fault that it stands in; none is left out without being counted.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, Final

from inkgate.rules.sources.readers.lenient_json import (
    as_json,
    items_of,
    read_leniently,
    without_damage,
)

# Has no type, and is refused for that where it is sealed.
_NO_ATTRIBUTE: Final = {"type": "", "value": "", "to_ids": True}
_HOLDERS: Final = ("Attribute", "Object", "Tag", "ShadowAttribute", "ObjectReference", "Stray")
_ODD_FLAGS: Final = {"to_ids": False, "published": False, "deleted": True}
_SINGLE: Final = ("Event", "Orgc")
_IN_ANY_CASE: Final[dict[str, str]] = {
    name.lower(): name for name in (*_HOLDERS, *_SINGLE, "response")
}


def mended_json(data: bytes) -> bytes | None:
    """The same events as JSON that the strict reader takes, each with all of its attributes.

    Those in places where MISP has none are counted as members of `Stray`.

    Returns:
        None if it is no JSON at all, or too much to be taken apart.
    """
    for is_deep in (False, True):
        try:
            return as_json(_mended(read_leniently(data, is_deep=is_deep, lists=_IN_ANY_CASE)))
        except RecursionError:
            continue
        except ValueError:
            break
    return None


def _mended(document: object) -> dict[str, Any]:
    events = list(_events(document))
    if all(event.keys() == {"Stray"} for event in events) and "response" not in _members(document):
        raise ValueError("no event")
    strays = _count(document) - sum(map(_placed, events))
    if strays > 0:
        events.append({"Stray": [None] * strays})
    return {"response": events}


def _members(document: object) -> Collection[str]:
    return document if isinstance(document, dict) else ()


def _events(document: object) -> Iterator[dict[str, Any]]:
    """All events of a document, however they are wrapped; what is none comes as it is."""
    if isinstance(document, list):
        for item in document:
            yield from _events(item)
        return
    if not isinstance(document, dict):
        yield {"Stray": [None]}
        return
    inner = [*items_of(document.get("response")), *items_of(document.get("Event"))]
    for item in inner:
        yield from _events(item)
    own = _event(document)
    is_wrapper = "response" in document or inner
    if not is_wrapper or any(name in own for name in ("Attribute", "Object", "ShadowAttribute")):
        yield own


def _event(document: dict[str, Any]) -> dict[str, Any]:
    mended = _scalars(document)
    mended["Orgc"] = _organisation(document.get("Orgc"))
    mended["Tag"] = _tags(document.get("Tag"))
    mended["ShadowAttribute"] = _nothings(document.get("ShadowAttribute"))
    if "Attribute" in document:
        mended["Attribute"] = list(_attributes(document["Attribute"]))
    if "Object" in document:
        mended["Object"] = list(_objects(document["Object"]))
    if "errors" in document:
        mended["errors"] = "said"
    return {name: value for name, value in mended.items() if value is not None}


def _attributes(holder: object) -> Iterator[dict[str, Any]]:
    """The attributes of a holder, and those in them, which are no part of them for MISP."""
    for item in items_of(holder):
        if not _is_wrapper(item):
            yield mended_attribute(item)
        if isinstance(item, dict):
            yield from _attributes(item.get("Attribute"))


def _is_wrapper(item: object) -> bool:
    return isinstance(item, dict) and "Attribute" in item and not {"type", "value"} & item.keys()


def mended_attribute(item: object) -> dict[str, Any]:
    """A decoded attribute with members of the types that the strict reader knows."""
    if not isinstance(item, dict):
        return dict(_NO_ATTRIBUTE)
    mended: dict[str, Any] = _scalars(item)
    for name in ("type", "value"):
        if isinstance(item.get(name), bool | list | dict):
            # No text, and so no indicator of any type that a request can show: refused as empty.
            mended[name] = ""
    mended["Tag"] = _tags(item.get("Tag"))
    mended["ShadowAttribute"] = _nothings(item.get("ShadowAttribute"))
    event = item.get("Event")
    if isinstance(event, dict):
        mended["Event"] = {**_scalars(event), "Orgc": _organisation(event.get("Orgc"))}
    return without_damage(mended, "type", "value")


def _objects(holder: object) -> Iterator[dict[str, Any]]:
    """The objects of a holder, and those in them."""
    for item in items_of(holder):
        if isinstance(item, dict):
            yield {**_scalars(item), "Attribute": list(_attributes(item.get("Attribute")))}
            yield from _objects(item.get("Object"))
        else:
            yield {"Attribute": [dict(_NO_ATTRIBUTE)]}


def _count(document: object) -> int:
    """How many attributes there are, wherever they stand."""
    waiting, count = [document], 0
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            count += sum(not _is_wrapper(item) for item in items_of(one.get("Attribute")))
            count += sum(not isinstance(item, dict) for item in items_of(one.get("Object")))
            # A reference repeats what it refers to.
            waiting += [value for name, value in one.items() if name != "ObjectReference"]
        elif isinstance(one, list):
            waiting += one
    return count


def _placed(event: dict[str, Any]) -> int:
    held = sum(len(holder["Attribute"]) for holder in event.get("Object", ()))
    return len(event.get("Attribute", ())) + held


def _nothings(holder: object) -> list[None] | None:
    """As many as a holder holds: they are counted, and not looked at."""
    return [None] * len(items_of(holder)) or None


def _organisation(item: object) -> dict[str, Any] | None:
    return _scalars(item) if isinstance(item, dict) else None


def _tags(items: object) -> list[dict[str, Any]]:
    """Tags with a name, also where a tool writes the names alone."""
    found = ({"name": item} if isinstance(item, str) else item for item in items_of(items))
    return [_scalars(item) for item in found if isinstance(item, dict)]


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
