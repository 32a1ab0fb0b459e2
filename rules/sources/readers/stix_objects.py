"""The objects of a STIX bundle, each counted once: what its indicators list, and why others do not.

Each object is decoded by itself, so what is wrong with one is that one's fault.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import msgspec

from inkgate.rules.sources.attribute import Attribute
from inkgate.rules.sources.readers import lenient_json
from inkgate.rules.sources.readers.lenient_json import (
    as_json,
    has_escaped_letters,
    read_leniently,
    without_damage,
)
from inkgate.rules.sources.readers.stix_pattern import NO_PATTERN, is_pattern, read_pattern

REVOKED: Final = "revoked"
EXPIRED: Final = "expired"
NOT_YET: Final = "not valid yet"
BENIGN: Final = "benign"
OLDER: Final = "another version of the same object counts"
OBSERVED: Final = "observed only, without an indicator"
CONTEXT: Final = "describes something, and is no indicator"
NO_OBJECT: Final = "not a STIX object"
OTHER_LANGUAGE: Final = "a pattern in another language than STIX's"
STRANGE_LANGUAGE: Final = "a pattern in a language that nobody knows"
STRANGE_TYPE: Final = "an object with a pattern, and of no type that STIX has"
BUNDLE: Final = "a bundle in a bundle, whose objects are counted by themselves"
TOO_DEEP: Final = "a bundle in too many others"
NOT_CONVERTED: Final = "a MISP's own object, which misp-stix did not convert"

MISP_OBJECTS: Final = ("x-misp-attribute", "x-misp-object")
"""Types of objects in which MISP keeps what STIX has no words for."""

_OBSERVABLES: Final = frozenset((
    "artifact", "autonomous-system", "directory", "domain-name", "email-addr", "email-message",
    "file", "ipv4-addr", "ipv6-addr", "mac-addr", "mutex", "network-traffic", "observed-data",
    "process", "software", "url", "user-account", "windows-registry-key", "x509-certificate",
))  # fmt: skip
_TYPES: Final = _OBSERVABLES | frozenset((
    "attack-pattern", "bundle", "campaign", "course-of-action", "extension-definition", "grouping",
    "identity", "incident", "indicator", "infrastructure", "intrusion-set", "language-content",
    "location", "malware", "malware-analysis", "marking-definition", "note", "opinion",
    "relationship", "report", "sighting", "threat-actor", "tool", "vulnerability",
))  # fmt: skip
# Of the vocabulary, and what tools write in place of `stix`.
_STIX_NAMES: Final = frozenset(("stix", "stix2", "stix2.0", "stix2.1", "stix-pattern",
                                "stix2-pattern", "stix-patterning"))  # fmt: skip
_OTHER_LANGUAGES: Final = frozenset((
    "carbonblack", "cbql", "eql", "esql", "kql", "kusto", "lucene", "nova", "osquery", "pcre",
    "sigma", "snort", "splunk", "spl", "suricata", "tanium", "tanium-signal", "yara", "zeek",
))  # fmt: skip
_MOST_BUNDLES: Final = 8
_OBJECTS: Final = re.compile(rb'"objects"\s*:', re.IGNORECASE)
_BUNDLE_LISTS: Final = MappingProxyType({"objects": "objects"})
_ID: Final = re.compile(r"[a-z0-9-]{1,64}--([0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})")
_MAX_TEXT: Final = 500
_TLP_NAME: Final = re.compile(r"tlp:(white|clear|green|amber(?:\+strict)?|red)", re.IGNORECASE)
# STIX 2.1, section 7.2.1.4, and OASIS' extension for TLP 2.0: their ids are fixed.
_TLP: Final = {
    "marking-definition--613f2e26-407d-48c7-9eca-b8e91df99dc9": "tlp:white",
    "marking-definition--34098fce-860f-48ae-8e50-ebd3cc5e41da": "tlp:green",
    "marking-definition--f88d31f6-486f-44da-b317-01333bde0b82": "tlp:amber",
    "marking-definition--5e57c739-391a-4eb3-b6be-7d15ca92d5ed": "tlp:red",
    "marking-definition--94868c89-83c2-464b-929b-a1a8aa3c8487": "tlp:clear",
    "marking-definition--bab4a63c-aed9-4cf5-a766-dfca5abac2bb": "tlp:green",
    "marking-definition--55d920b0-5e8b-4f79-9ee9-91f868d9b421": "tlp:amber",
    "marking-definition--939a9414-2ddd-4d32-a0cd-375ea402b003": "tlp:amber+strict",
    "marking-definition--e828b379-4e03-4974-9ac4-e53a884c97c1": "tlp:red",
}
# As misp-stix calls them.
_CONFIDENCE: Final = (
    (100, "completely-confident"),
    (75, "usually-confident"),
    (50, "fairly-confident"),
    (25, "rarely-confident"),
    (0, "unconfident"),
)


class Head(msgspec.Struct):
    """What every object has; of whatever type, since one must not cost the others."""

    type: Any = ""
    id: Any = ""
    modified: Any = ""
    created: Any = ""


class Item(NamedTuple):
    """An object of a bundle.

    Attributes:
        head: None if it is no STIX object.
        place: where it is, for people; holds nothing of its values.
        is_newest: whether no other object of the bundle is a newer version of it.
        is_deep: whether it is in so many bundles that those in it were not looked into.
    """

    head: Head | None
    body: bytes | msgspec.Raw
    place: str
    is_newest: bool = True
    is_deep: bool = False

    @property
    def type(self) -> str:
        """Of the object; empty if it is none."""
        return self.head.type if self.head else ""

    @property
    def uuid(self) -> str:
        """Of its id; empty if it is none of STIX."""
        found = _ID.fullmatch(_id(self.head))
        return found[1] if found else ""


class Context(NamedTuple):
    """What other objects tell of the indicators, by STIX id."""

    names: dict[str, str]
    markings: dict[str, str]
    reports: dict[str, tuple[str, str]]


_HEAD: Final = msgspec.json.Decoder(Head)


class Bundle(msgspec.Struct):
    """A bundle, whose objects are decoded one by one."""

    objects: list[msgspec.Raw] = msgspec.field(default_factory=list)


def objects_of(data: bytes | msgspec.Raw) -> Sequence[bytes | msgspec.Raw]:
    """All objects of a bundle, in whatever case and however often it names its list.

    `null` stands for each list in a place where STIX has none.

    Raises:
        msgspec.MsgspecError, UnicodeError, RecursionError: it is not sound.
    """
    objects = msgspec.json.decode(data, type=Bundle).objects
    body = bytes(data)
    inside = sum(len(_OBJECTS.findall(one)) for one in objects)
    lists = len(_OBJECTS.findall(body)) - inside
    if lists <= bool(objects) and not has_escaped_letters(body):
        return objects
    # There are lists that were not looked at.
    found = objects_leniently(body)
    return [*objects, b"null"] if found is None else found


def objects_leniently(data: bytes) -> list[bytes] | None:
    """Objects of which one holds bytes that are no UTF-8, or the like: it costs itself alone."""
    try:
        bundle = read_leniently(data, is_deep=True, lists=_BUNDLE_LISTS)
    except ValueError:
        return None
    objects = bundle.pop("objects", []) if isinstance(bundle, dict) else None
    if not isinstance(objects, list | dict):
        return None
    found = [
        as_json(without_damage(item, "pattern") if isinstance(item, dict) else item)
        for item in lenient_json.items_of(objects)
    ]
    return found + [b"null"] * _lists_in(bundle)


def _lists_in(value: object) -> int:
    """How many lists of objects there are in what is no object of a bundle."""
    waiting, count = [value], 0
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            count += "objects" in one
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one
    return count


def items_of(bodies: Sequence[bytes | msgspec.Raw], name: str) -> list[Item]:
    """The objects of a bundle in their order, and behind them those of bundles in it.

    Args:
        bodies: each object as JSON.
        name: of the bundle's file, for places.
    """
    bodies = list(bodies)
    heads = [_head(body) for body in bodies]
    at = 0
    for _ in range(_MOST_BUNDLES):
        inner = [_inner(body) for body, head in zip(bodies[at:], heads[at:], strict=True)
                 if head and head.type == "bundle"]  # fmt: skip
        at = len(bodies)
        for objects in inner:
            bodies += objects
            heads += map(_head, objects)
    # Of these nobody has looked whether one is a bundle.
    deep = range(at, len(bodies))
    newest: dict[tuple[str, str], int] = {}
    for number, head in enumerate(heads):
        other = newest.get(key := _key(head))
        if all(key) and (other is None or _version(head) > _version(heads[other])):
            newest[key] = number
    return [
        Item(
            head,
            body,
            _place(head, name, number),
            newest.get(_key(head), number) == number,
            number in deep,
        )
        for number, (head, body) in enumerate(zip(heads, bodies, strict=True))
    ]


def context_of(items: Iterable[Item]) -> Context:
    """What identities, markings and reports tell."""
    context = Context({}, dict(_TLP), {})
    for item in items:
        if item.type in ("identity", "marking-definition", "report", "grouping"):
            body = decoded(item)
            if item.type == "identity":
                context.names[_text(body.get("id"))] = _text(body.get("name"))
            elif item.type == "marking-definition":
                _mark(context, body)
            else:
                report = item.uuid, _text(body.get("name"))
                for ref in _texts(body.get("object_refs")):
                    context.reports.setdefault(ref, report)
    return context


def attributes_of(items: Iterable[Item], context: Context, now: datetime) -> Iterator[Attribute]:
    """What objects list; each gives at least one attribute, if only with its reason.

    Args:
        items: the objects.
        context: what others tell of them.
        now: decides what has expired.

    Raises:
        ImportError: stix2-patterns is not installed.
    """
    for item in items:
        reason = skip_reason(item, now)
        if reason:
            yield skipped(item, reason)
        elif why := refusal(item):
            yield refused(item, why)
        else:
            yield from of_indicator(item, context)


def refusal(item: Item) -> str:
    """Why nothing can be made of an object that is not skipped; empty for an indicator."""
    if item.head is None:
        return NO_OBJECT
    if item.type in MISP_OBJECTS:
        return NOT_CONVERTED
    if item.type == "bundle":
        return TOO_DEEP
    return "" if item.type == "indicator" else STRANGE_TYPE


def skip_reason(item: Item, now: datetime) -> str:
    """Why an object has nothing to block; empty for an indicator that counts, or for nonsense."""
    if not item.is_newest:
        return OLDER
    if item.head is None or item.type in MISP_OBJECTS:
        return ""
    if item.type == "bundle":
        return "" if item.is_deep else BUNDLE
    if item.type not in _TYPES and "pattern" in decoded(item):
        return ""
    if item.type != "indicator":
        return OBSERVED if item.type in _OBSERVABLES else CONTEXT
    return _over(decoded(item), now)


def _over(body: dict[str, Any], now: datetime) -> str:
    """Why an indicator does not count, or not now."""
    until, begins = _moment(body.get("valid_until")), _moment(body.get("valid_from"))
    # STIX 2.0 has no indicator_types, and says the same by labels.
    kinds = [*_texts(body.get("indicator_types")), *_texts(body.get("labels"))]
    reasons = {
        REVOKED: body.get("revoked") in (True, "true"),
        EXPIRED: until is not None and until <= now,
        NOT_YET: begins is not None and begins > now,
        BENIGN: "benign" in kinds and "malicious-activity" not in kinds,
    }
    return next((reason for reason, holds in reasons.items() if holds), "")


def of_indicator(item: Item, context: Context) -> Iterator[Attribute]:
    """What an indicator lists: an attribute for each alternative of its pattern."""
    body = decoded(item)
    common = _common(item, body, context)
    pattern = body.get("pattern")
    if not isinstance(pattern, str) or not pattern.strip():
        yield refused(item, NO_PATTERN)
        return
    language = _language(body.get("pattern_type"))
    if language in _OTHER_LANGUAGES:
        yield skipped(item, OTHER_LANGUAGE)
        return
    if language not in _STIX_NAMES and not is_pattern(pattern):
        yield refused(item, STRANGE_LANGUAGE)
        return
    for number, reading in enumerate(read_pattern(pattern)):
        yield msgspec.structs.replace(
            common, type=reading[0], value=reading[1], refused=reading[2], is_more=number > 0
        )


def _language(name: object) -> str:
    """STIX 2.0 has no other language than its own, and so no name for it."""
    return "stix" if name is None else _text(name).strip().lower()


def _inner(body: bytes | msgspec.Raw) -> Sequence[bytes | msgspec.Raw]:
    try:
        return objects_of(body)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return [msgspec.Raw(b"null")]


def skipped(item: Item, reason: str) -> Attribute:
    """An object that has nothing to block."""
    return Attribute(
        type="", value="", uuid=item.uuid, to_ids=True, place=item.place, skipped=reason
    )


def refused(item: Item, reason: str) -> Attribute:
    """An object that should list something, and of which nothing can be made."""
    return Attribute(
        type="", value="", uuid=item.uuid, to_ids=True, place=item.place, refused=reason
    )


def _common(item: Item, body: dict[str, Any], context: Context) -> Attribute:
    stamp = _moment(body.get("modified")) or _moment(body.get("created"))
    report = context.reports.get(_text(body.get("id")), ("", ""))
    texts = (_text(body.get("name")), _text(body.get("description")))
    return Attribute(
        type="",
        value="",
        uuid=item.uuid,
        event_uuid=report[0],
        event_info=report[1][:_MAX_TEXT],
        org=context.names.get(_text(body.get("created_by_ref")), "")[:_MAX_TEXT],
        date=stamp.date().isoformat() if stamp else "",
        comment=": ".join(text for text in texts if text)[:_MAX_TEXT],
        timestamp=str(int(stamp.timestamp())) if stamp and stamp.year >= 1970 else "",
        to_ids=True,
        tags=_tags(body, context),
        place=item.place,
    )


def _tags(body: dict[str, Any], context: Context) -> tuple[str, ...]:
    marks = (context.markings.get(ref, "") for ref in _texts(body.get("object_marking_refs")))
    found = [*filter(None, marks), *_texts(body.get("labels"))]
    confidence = body.get("confidence")
    if isinstance(confidence, int) and not isinstance(confidence, bool):
        said = next((word for least, word in _CONFIDENCE if confidence >= least), "unconfident")
        found.append(f'misp:confidence-level="{said}"')
    return tuple(dict.fromkeys(found))


def _mark(context: Context, body: dict[str, Any]) -> None:
    definition = body.get("definition")
    tlp = definition.get("tlp") if isinstance(definition, dict) else None
    for text in (f"tlp:{_text(tlp)}", _text(body.get("name"))):
        if _TLP_NAME.fullmatch(text):
            # What an id of OASIS means is not for the bundle to say.
            context.markings.setdefault(_text(body.get("id")), text.lower())


def _head(body: bytes | msgspec.Raw) -> Head | None:
    try:
        head = _HEAD.decode(body)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        found = _leniently(body)
        head = Head(found.get("type"), found.get("id"))
    return head if isinstance(head.type, str) and head.type else None


def _id(head: Head | None) -> str:
    return _text(head.id) if head else ""


def _key(head: Head | None) -> tuple[str, str]:
    """By which versions of one object are known: an id of another type is another's."""
    return (head.type, _id(head)) if head else ("", "")


def _version(head: Head | None) -> datetime:
    moment = _moment(head.modified) or _moment(head.created) if head else None
    return moment or datetime.min.replace(tzinfo=UTC)


def _place(head: Head | None, name: str, number: int) -> str:
    # Anything else than an id could be an indicator.
    name_of = _id(head)
    return f"{name}:{name_of if _ID.fullmatch(name_of) else f'object {number + 1}'}"


def decoded(item: Item) -> dict[str, Any]:
    """All of an object; empty if it is none. A pattern that is damaged is empty."""
    try:
        body = msgspec.json.decode(item.body)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return _leniently(item.body)
    return body if isinstance(body, dict) else {}


def _leniently(body: bytes | msgspec.Raw) -> dict[str, Any]:
    try:
        found = read_leniently(bytes(body), is_deep=True)
    except ValueError:
        return {}
    # It would mean something else.
    return without_damage(found, "pattern") if isinstance(found, dict) else {}


def _moment(text: object) -> datetime | None:
    if not isinstance(text, str):
        return None
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _texts(value: object) -> list[str]:
    return [text for text in value if isinstance(text, str)] if isinstance(value, list) else []
