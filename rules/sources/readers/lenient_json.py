"""JSON that is nearly sound, read so that what is odd in it can cost itself alone.

Other tools write bytes of older encodings, control characters as they are, numbers that no
program holds, and the same member twice.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

NO_NAMES: Final[Mapping[str, str]] = MappingProxyType({})
# Python's objects take many times the size of their JSON.
MOST_BYTES: Final = 64 << 20
MOST_PARTS: Final = 1_000_000
_MAX_DEPTH: Final = 64
_MAX_DIGITS: Final = 18
# A text without an end takes all of the rest: it is looked at once.
_TOKEN: Final = re.compile(r'"(?:[^"\\]++|\\.)*+["\\]?|[\[{]|[\]}]', re.DOTALL)
_NAME: Final = re.compile(r'"(\w{1,32})"\s*:')
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
# What member of an object stands for those of its containers whose names stand twice.
TWICE: Final = "\0twice"
# Letters that are escaped can be those of any name.
_ESCAPED_LETTER: Final = re.compile(rb"\\u00[4-7][0-9A-Fa-f]")


def has_escaped_letters(data: bytes) -> bool:
    """Whether a name may stand in JSON that is not seen in its bytes."""
    return _ESCAPED_LETTER.search(data) is not None


def read_leniently(
    data: bytes, *, is_deep: bool = False, lists: Mapping[str, str] = NO_NAMES
) -> object:
    """What JSON holds.

    Bytes that are no UTF-8 come as surrogates (PEP 383), numbers of many digits as texts, and
    those that JSON does not have (1e999, NaN) as None.

    Args:
        is_deep: cut off what is nested more than 64 deep; `True` stands there, which is
            neither a text nor anything that holds one. Names of `lists` that are cut off stand
            there instead, each with one null.
        lists: names of members whose items all count, in whatever case a name is written and
            however often it stands there, by the name in lower case. Containers of other names
            that stand twice but for the last are items of the member `TWICE`.

    Raises:
        ValueError: it is no JSON, larger than 64 MiB, or has more than 1,000,000 objects and
            lists.
        RecursionError: it is nested too deeply, and not cut off.
    """
    if len(data) > MOST_BYTES or data.count(b"{") + data.count(b"[") > MOST_PARTS:
        raise ValueError("too large")
    text = data.decode("utf-8", "surrogateescape")
    return json.loads(
        _shallow(text, lists) if is_deep else text,
        parse_constant=lambda _: None,
        parse_float=_float,
        parse_int=lambda digits: int(digits) if len(digits) <= _MAX_DIGITS else digits,
        object_pairs_hook=functools.partial(_members, lists=lists),
        strict=False,
    )


def without_damage(item: dict[str, Any], *names: str) -> dict[str, Any]:
    """An object in which no text holds what was no UTF-8, or a surrogate without its pair.

    Args:
        names: members that are empty then. In others `?` stands for what is damaged.
    """
    found = {name: _sound(value) for name, value in item.items()}
    return found | {name: "" for name in names if found.get(name) != item.get(name)}


def as_json(value: object) -> bytes:
    """JSON of what `read_leniently` gave; `?` stands for what is damaged."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8", "replace")


def _sound(value: object) -> object:
    """A value without surrogates, at any depth that `is_deep` leaves."""
    if isinstance(value, str):
        return _SURROGATE.sub("?", value)
    if isinstance(value, list):
        return [_sound(item) for item in value]
    if isinstance(value, dict):
        return {str(_sound(name)): _sound(item) for name, item in value.items()}
    return value


def items_of(holder: object) -> list[object]:
    """What a list holds: one with a gap is a map for PHP, and one item may stand for itself."""
    if isinstance(holder, dict):
        is_list = all(name.isascii() and name.isdigit() for name in holder)
        return list(holder.values()) if is_list else [holder]
    if isinstance(holder, list):
        return holder
    return [holder] if holder else []


def _members(pairs: list[tuple[str, Any]], lists: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    several: dict[str, list[Any]] = {}
    for written, value in pairs:
        name = lists.get(written.lower(), written)
        # In another case it may be any word of a map whose names are free.
        if name != written and not any(isinstance(item, dict) for item in items_of(value)):
            name = written
        if name in found:
            several.setdefault(name, [found[name]]).append(value)
        found[name] = value
    lost: list[Any] = []
    for name, values in several.items():
        if name in lists.values():
            found[name] = [item for value in values for item in items_of(value)]
        else:
            lost += [value for value in values[:-1] if isinstance(value, dict | list)]
    if lost:
        # Nothing keeps a file from having a member of this name, too.
        found[TWICE] = [*lost, found.get(TWICE)]
    return found


def _float(text: str) -> float | None:
    number = float(text)
    return number if abs(number) < float("inf") else None


def _shallow(text: str, lists: Mapping[str, str]) -> str:
    depth, at = 0, 0
    parts = []
    for token in _TOKEN.finditer(text):
        sign = text[token.start()]
        if sign in "[{":
            depth += 1
            if depth == _MAX_DEPTH + 1:
                parts.append(text[at : token.start()])
                at = token.start()
        elif sign in "]}":
            if depth == _MAX_DEPTH + 1:
                parts.append(_cut_off(text[at : token.end()], lists))
                at = token.end()
            depth -= 1
    return "".join(parts) + text[at:]


def _cut_off(text: str, lists: Mapping[str, str]) -> str:
    """What stands in place of a text that is too deep."""
    names = (lists.get(name.lower()) for name in _NAME.findall(text))
    held = [f'{{"{name}":[null]}}' for name in names if name]
    return f"[{','.join(held)}]" if held else "true"
