"""Bundles that MISP wrote, turned back by misp-stix into the attributes that they were.

MISP keeps its own words in labels and objects of its own: the types, categories and `to_ids`
of attributes. misp-stix knows them. What it does not convert is looked at without it, and
nothing that it says is left unsaid.
"""

from __future__ import annotations

import io
import logging
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from datetime import datetime
from typing import Any, Final

import msgspec

from inkgate.rules.sources.attribute import Attribute
from inkgate.rules.sources.readers.misp_event import attributes_of_events
from inkgate.rules.sources.readers.source_file import SourceFile
from inkgate.rules.sources.readers.stix_objects import (
    Context,
    Item,
    attributes_of,
    decoded,
    of_indicator,
    refusal,
    refused,
    skip_reason,
    skipped,
)
from inkgate.rules.sources.readers.stix_pattern import is_pattern

SAID: Final = "misp-stix reports an error about the bundle"
FAILED: Final = "a bundle of MISP that misp-stix does not convert; it was read without MISP's types"

_TOOLS: Final = ('misp:tool="MISP-STIX-Converter"', 'misp:tool="misp2stix2"')
_BUNDLE_ID: Final = "bundle--6f1b2f0e-6c0e-4d0f-9f0e-0d1c7f5f6a11"
_PATTERN_TYPE: Final = "stix2-pattern"
_ID: Final = re.compile(r"[a-z0-9-]{1,64}--[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")

_Found = dict[str, list[Attribute]]


def is_of_misp(items: Sequence[Item]) -> bool:
    """Whether MISP wrote a bundle, by the labels of its report, as misp-stix tells it."""
    for item in items:
        if item.type in ("report", "grouping"):
            labels = decoded(item).get("labels")
            if isinstance(labels, list) and any(tool in labels for tool in _TOOLS):
                return True
    return False


def attributes_of_misp(
    items: Sequence[Item], context: Context, file: SourceFile, now: datetime
) -> Iterator[Attribute]:
    """What MISP wrote; each object is counted as it is, or gives its attributes.

    Args:
        items: all objects of the bundle.
        context: what some tell of others.
        file: where they are from.
        now: decides what has expired.

    Raises:
        ImportError: misp-stix is not installed.
    """
    reasons = [skip_reason(item, now) for item in items]
    sound = [i for i, why in zip(items, reasons, strict=True) if not why or i.type != "indicator"]
    given = [
        decoded(item) for item in sound if item.head and item.is_newest and item.type != "bundle"
    ]
    converted = _converted([body for body in given if _is_for_others(body)], file)
    if converted is None:
        yield Attribute(
            type="", value="", uuid="", to_ids=True, place=file.name, refused=FAILED, is_more=True
        )
        yield from attributes_of(items, context, now)
        return
    attributes, errors = converted
    found = _by_uuid(attributes)
    lost = {item.uuid for item in sound if item.type == "indicator" and _is_lost(item, found)}
    yield from (
        msgspec.structs.replace(a, place=f"{file.name}:{a.uuid}")
        for a in attributes
        if not {a.uuid, a.object_uuid} & lost
    )
    for item, reason in zip(items, reasons, strict=True):
        yield from _of_item(item, reason, context, found)
    handled = {i.head.id for i in items if i.head and i.type == "indicator"}
    yield from _said(errors, handled, file.name)


def _of_item(item: Item, reason: str, context: Context, found: _Found) -> Iterator[Attribute]:
    """What an object is counted as besides the attributes that misp-stix made of it."""
    if item.type == "indicator" and not reason:
        if _is_lost(item, found):
            yield from of_indicator(item, context)
    elif item.uuid in found and item.type != "indicator":
        return
    elif reason:
        yield skipped(item, reason)
    else:
        yield refused(item, refusal(item))


def _is_for_others(body: dict[str, Any]) -> bool:
    """Whether an object can be given to misp-stix, which takes any time for what is no pattern."""
    pattern = body.get("pattern")
    is_stix = body.get("type") == "indicator" and body.get("pattern_type", "stix") == "stix"
    return not is_stix or (isinstance(pattern, str) and is_pattern(pattern))


def _is_lost(item: Item, found: _Found) -> bool:
    """Whether misp-stix made nothing of an indicator, or the pattern again."""
    attributes = found.get(item.uuid, [])
    return not attributes or any(a.type == _PATTERN_TYPE for a in attributes)


def _by_uuid(attributes: Sequence[Attribute]) -> _Found:
    found: _Found = defaultdict(list)
    for attribute in attributes:
        for uuid in {attribute.uuid, attribute.object_uuid} - {""}:
            found[uuid].append(attribute)
    return dict(found)


def _said(errors: Sequence[str], handled: set[object], name: str) -> Iterator[Attribute]:
    """misp-stix's errors but for those about indicators, which were looked at without it."""
    for error in dict.fromkeys(errors):
        ids = _ID.findall(error)
        if not handled.intersection(ids):
            place = f"{name}:{ids[0]}" if ids else name
            yield Attribute(
                type="", value="", uuid="", to_ids=True, place=place, refused=SAID, is_more=True
            )


def _converted(
    objects: list[dict[str, Any]], file: SourceFile
) -> tuple[list[Attribute], list[str]] | None:
    # Imported here: it takes seconds, and only who has bundles of MISP needs it.
    from misp_stix_converter import InternalSTIX2toMISPParser  # noqa: PLC0415
    from misp_stix_converter.tools import load_stix2_content  # noqa: PLC0415

    # Its texts quote values.
    logging.getLogger("misp_stix_converter").setLevel(logging.CRITICAL + 1)
    version = {} if any("spec_version" in o for o in objects) else {"spec_version": "2.0"}
    bundle = {"type": "bundle", "id": _BUNDLE_ID, **version, "objects": objects}
    try:
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            parser = InternalSTIX2toMISPParser()
            parser.load_stix_bundle(load_stix2_content(bundle))
            parser.parse_stix_bundle(single_event=True)
            event = parser.misp_event.to_json()
        errors = [str(error) for several in parser.errors.values() for error in several]
        return list(attributes_of_events(event.encode(), file)), errors
    except Exception:  # noqa: BLE001 (a foreign parser of hostile input)
        return None
