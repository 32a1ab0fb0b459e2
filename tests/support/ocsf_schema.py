"""Whether an event is of OCSF, by the published schema (tests/vectors/export)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

Json = dict[str, Any]

_FILE: Final = Path(__file__).parents[1] / "vectors" / "export" / "ocsf.json"
SCHEMA: Final[Json] = json.loads(_FILE.read_text())
_OTHER: Final = 99
# OCSF's own compiler fills these in, from the class and the activity (see `_of_numbers`).
_FOLLOWING: Final = ("category_uid", "class_uid", "type_uid")
# The compiler adds the types that are observables to the values of `observable.type_id`.
_OBSERVABLES: Final = {
    str(kind["observable"]): {"caption": kind["caption"]}
    for kind in SCHEMA["types"].values()
    if "observable" in kind
}
_PYTHON: Final = {"integer_t": int, "long_t": int, "float_t": float, "boolean_t": bool}


def _inherited(kind: str, name: str, key: str) -> Any:
    """What an entity says, or what it extends."""
    while key not in SCHEMA[kind][name]:
        name = SCHEMA[kind][name]["extends"]
    return SCHEMA[kind][name][key]


_BY_UID: Final = {
    SCHEMA["categories"][_inherited("events", name, "category")]["uid"] * 1000 + event["uid"]: name
    for name, event in SCHEMA["events"].items()
    if event.get("uid")
}


def faults(event: Json) -> list[str]:
    """What is wrong with an event; nothing if it is one."""
    name = _BY_UID.get(event.get("class_uid", 0))
    if name is None:
        return ["no class_uid that is known"]
    found = list(_of_object(event, "events", name, "", _profiles(event)))
    return found + list(_of_numbers(event, name))


def _profiles(event: Json) -> set[str]:
    metadata = event.get("metadata")
    return set(metadata.get("profiles", ())) if isinstance(metadata, dict) else set()


def _of_numbers(event: Json, name: str) -> Iterator[str]:
    """Numbers and names that follow from others."""
    category = SCHEMA["categories"][_inherited("events", name, "category")]
    caption = SCHEMA["events"][name]["caption"]
    activity = event.get("activity_id")
    expected = {
        "category_uid": category["uid"],
        "category_name": category["caption"],
        "class_name": caption,
        "type_uid": event["class_uid"] * 100 + (activity or 0),
    }
    for key, value in expected.items():
        if event.get(key, value) != value:
            yield f"{key} is {event[key]!r} and not {value!r}"
    if event.get("metadata", {}).get("version") != SCHEMA["version"]:
        yield "metadata.version is another one"
    enum = _attributes("events", name)["activity_id"]["enum"]
    said = f"{caption}: {enum.get(str(activity), {}).get('caption')}"
    if event.get("type_name", said) != said:
        yield f"type_name is {event['type_name']!r} and not {said!r}"


def _attributes(kind: str, name: str) -> dict[str, Json]:
    """An entity's attributes, with those of what it extends and of its profiles."""
    entity = SCHEMA[kind][name]
    found = _attributes(kind, entity["extends"]) if "extends" in entity else {}
    own = dict(entity.get("attributes", {}))
    for included in own.pop("$include", ()):
        profile = SCHEMA["profiles"].get(Path(included).stem)
        for attribute, said in (profile or {}).get("attributes", {}).items():
            found[attribute] = {"profile": profile["name"], **found.get(attribute, {}), **said}
    for attribute, said in own.items():
        before = found.get(attribute, {})
        enum = {**before.get("enum", {}), **said.get("enum", {})}
        found[attribute] = {**before, **said, **({"enum": enum} if enum else {})}
    return found


def _of_object(value: Json, kind: str, name: str, place: str, profiles: set[str]) -> Iterator[str]:
    attributes = _attributes(kind, name)
    for key, part in value.items():
        at = f"{place}{key}"
        said = attributes.get(key)
        if said is None:
            yield f"{at} is no attribute of {name}"
        elif said.get("profile") and said["profile"] not in profiles:
            yield f"{at} is of profile {said['profile']}, which is not among metadata.profiles"
        elif "@deprecated" in said:
            yield f"{at} is deprecated"
        else:
            yield from _of_attribute(value, key, part, said, at, profiles)
    for key, said in attributes.items():
        if said.get("requirement") == "required" and key not in value:
            yield f"{place}{key} is missing"
    constraints = SCHEMA[kind][name].get("constraints", {})
    one_of = constraints.get("at_least_one")
    if one_of and not any(key in value for key in one_of):
        yield f"{place} has none of {one_of}"
    just_one = constraints.get("just_one")
    if just_one and sum(key in value for key in just_one) != 1:
        yield f"{place} has not just one of {just_one}"


def _of_attribute(
    value: Json, key: str, part: Any, said: Json, at: str, profiles: set[str]
) -> Iterator[str]:
    general = SCHEMA["dictionary"][key]
    if general.get("is_array"):
        if not isinstance(part, list) or not part:
            yield f"{at} is no list, or an empty one"
            return
        parts = part
    else:
        parts = [part]
    enum = _enum(key, said, at)
    for one in parts:
        if general["type"] in SCHEMA["types"]:
            yield from _of_type(one, general["type"], at)
        elif not isinstance(one, dict):
            yield f"{at} is no object"
        else:
            yield from _of_object(one, "objects", general["type"], f"{at}.", profiles)
        if enum and str(one) not in enum:
            yield f"{at} is {one!r}, which is no value of it"
    sibling = general.get("sibling") or said.get("sibling")
    if enum and sibling in value and part != _OTHER:
        caption = enum.get(str(part), {}).get("caption")
        if value[sibling] != caption:
            yield f"{sibling} is {value[sibling]!r} and not {caption!r}"


def _enum(key: str, said: Json, at: str) -> dict[str, Json]:
    """The values that an attribute may have; none if it may have any."""
    if key in _FOLLOWING:
        return {}
    enum = {**SCHEMA["dictionary"][key].get("enum", {}), **said.get("enum", {})}
    return {**enum, **_OBSERVABLES} if at.endswith("observables.type_id") else enum


def _of_type(value: Any, name: str, at: str) -> Iterator[str]:
    kind = SCHEMA["types"][name]
    base = kind.get("type", name)
    expected = _PYTHON.get(name) or _PYTHON.get(base, str)
    if not isinstance(value, expected) or (expected is int and isinstance(value, bool)):
        yield f"{at} is {value!r}, which is no {name}"
    elif isinstance(value, str):
        if len(value) > kind.get("max_len", 1 << 30):
            yield f"{at} is too long for {name}"
        if "regex" in kind and not re.search(kind["regex"], value):
            yield f"{at} is {value!r}, which is no {name}"
