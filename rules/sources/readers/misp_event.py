"""MISP event JSON: one event, a response of several, or a list of attributes.

The MISP core format (draft-dulaunoy-misp-core-format) leaves numbers and flags
as strings in some versions; both spellings are read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from inkgate.config.errors import Unreadable
from inkgate.rules.sources.attribute import Attribute
from inkgate.rules.sources.readers.file_format import FileFormat
from inkgate.rules.sources.readers.lenient_json import has_escaped_letters
from inkgate.rules.sources.readers.odd_events import mended_attribute, mended_json
from inkgate.rules.sources.readers.source_file import SourceFile

_REMEDY: Final = "export the event again"
PROPOSAL: Final = "a proposal, which nobody has accepted"
STRAY: Final = "an attribute in a place where MISP has none"
_POSITION: Final = re.compile(r"byte (\d+)")
_HOLDER: Final = re.compile(rb'"Attribute"\s*:')
# Names of members that hold others, as MISP does not write them.
_ODD_CASE: Final = re.compile(
    rb'"(?!(?:Attribute|Object|Event|response|ShadowAttribute|Tag)")'
    rb'(?i:attribute|object|event|response|shadowattribute|tag)"\s*:'
)

Text = str | int | float | None
Flag = bool | int | str | None


class _Tag(msgspec.Struct):
    name: Text = ""


class _Organisation(msgspec.Struct):
    name: Text = ""


class _EventOfAttribute(msgspec.Struct):
    id: Text = ""
    uuid: Text = ""
    info: Text = ""
    date: Text = ""
    orgc: _Organisation | None = msgspec.field(name="Orgc", default=None)


class _Attribute(msgspec.Struct):
    type: Text = ""
    value: Text = ""
    uuid: Text = ""
    event_id: Text = ""
    category: Text = ""
    comment: Text = ""
    timestamp: Text = ""
    to_ids: Flag = False
    deleted: Flag = False
    last_seen: Text = ""
    object_relation: Text = ""
    tag: list[_Tag] | None = msgspec.field(name="Tag", default=None)
    event: _EventOfAttribute | None = msgspec.field(name="Event", default=None)
    proposals: list[msgspec.Raw] | None = msgspec.field(name="ShadowAttribute", default=None)


_Attributes = list[_Attribute] | None | msgspec.UnsetType


class _Reference(msgspec.Struct):
    """What an object refers to is repeated in it, and is read where it stands."""

    attribute: Any = msgspec.field(name="Attribute", default=msgspec.UNSET)


class _Object(msgspec.Struct):
    uuid: Text = ""
    deleted: Flag = False
    attribute: _Attributes = msgspec.field(name="Attribute", default=msgspec.UNSET)
    references: list[_Reference] | None = msgspec.field(name="ObjectReference", default=None)


class _Event(msgspec.Struct):
    id: Text = ""
    uuid: Text = ""
    info: Text = ""
    date: Text = ""
    published: Flag = None
    orgc: _Organisation | None = msgspec.field(name="Orgc", default=None)
    tag: list[_Tag] | None = msgspec.field(name="Tag", default=None)
    attribute: _Attributes = msgspec.field(name="Attribute", default=msgspec.UNSET)
    object: list[_Object] | None = msgspec.field(name="Object", default=None)
    proposals: list[msgspec.Raw] | None = msgspec.field(name="ShadowAttribute", default=None)
    strays: list[msgspec.Raw] | None = msgspec.field(name="Stray", default=None)


class _Document(_Event):
    """Any of the shapes that MISP and its users write."""

    event: _Event | None = msgspec.field(name="Event", default=None)
    response: msgspec.Raw = msgspec.Raw()
    errors: msgspec.Raw = msgspec.Raw()


_DOCUMENT: Final = msgspec.json.Decoder(_Document)
_DOCUMENTS: Final = msgspec.json.Decoder(list[_Document])


def read_event_file(file: SourceFile) -> Iterator[Attribute]:
    """All attributes of a file's events, those inside objects too.

    The whole file is decoded before the first attribute is given, so a file that was
    cut off gives none.

    Raises:
        Unreadable: whatever is wrong with the file.
    """
    return attributes_of_events(file.read_json(), file)


def attributes_of_events(data: bytes, file: SourceFile) -> Iterator[Attribute]:
    """All attributes of events in JSON.

    Args:
        file: whose they are, which errors name.

    Raises:
        Unreadable: whatever is wrong with them; before the first attribute.
    """
    try:
        events = _decoded(data, file)
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise file.unreadable(_problem(error), _REMEDY, _line(data, error)) from None
    except RecursionError:
        raise file.unreadable("is nested too deeply", _REMEDY) from None
    for event in events:
        yield from _attributes(event)
        yield from _not_read(event, file.name)


def _decoded(data: bytes, file: SourceFile) -> list[_Event]:
    try:
        events = list(_documents(data, file))
    except (msgspec.MsgspecError, UnicodeError, RecursionError, Unreadable):
        # Something is not as MISP writes it. One attribute must not cost all others.
        mended = mended_json(data)
        if mended is None:
            raise
        return list(_documents(mended, file))
    if sum(map(_holders, events)) == len(_HOLDER.findall(data)) and not _has_odd_names(data):
        return events
    # There are attributes that were not looked at.
    mended = mended_json(data)
    if mended is None:
        return [*events, _Event(strays=[msgspec.Raw()])]
    return list(_documents(mended, file))


def _has_odd_names(data: bytes) -> bool:
    return has_escaped_letters(data) or _ODD_CASE.search(data) is not None


def _holders(event: _Event) -> int:
    """How many members named `Attribute` were looked at."""
    objects = event.object or ()
    found = [event.attribute, *(holder.attribute for holder in objects)]
    found += [one.attribute for holder in objects for one in holder.references or ()]
    return sum(holder is not msgspec.UNSET for holder in found)


def attribute_of_search(item: object) -> Attribute:
    """One attribute as MISP's restSearch of attributes gives it; of one that is odd, what is."""
    try:
        found = _attribute(msgspec.convert(item, _Attribute), _Event(), None)
        # Python's JSON takes surrogates without their pair, and nothing else does.
        msgspec.msgpack.encode(found)
    except (msgspec.ValidationError, UnicodeError):
        # It must not cost all others, which the same answer holds.
        mended = msgspec.convert(mended_attribute(item), _Attribute)
        return _attribute(mended, _Event(), None)
    return found


def _documents(data: bytes | msgspec.Raw, file: SourceFile, depth: int = 0) -> Iterator[_Event]:
    listed = bytes(data).lstrip()[:1] == b"["
    for document in _DOCUMENTS.decode(data) if listed else [_DOCUMENT.decode(data)]:
        is_wrapper = bool(bytes(document.response)) and depth == 0
        if is_wrapper:
            yield from _documents(document.response, file, 1)
        if document.event is not None:
            is_wrapper = True
            yield document.event
        if _holds_attributes(document) or not is_wrapper:
            _check_event(document, file)
            yield document


def _check_event(document: _Document, file: SourceFile) -> None:
    if not (_holds_attributes(document) or (document.uuid and document.info)):
        said = " (it holds an error message of MISP)" if bytes(document.errors) else ""
        raise file.unreadable(f"holds no MISP event{said}", _REMEDY)


def _holds_attributes(event: _Event) -> bool:
    holders = (event.attribute, event.object, event.proposals, event.strays)
    return any(holder is not None and holder is not msgspec.UNSET for holder in holders)


def _attributes(event: _Event) -> Iterator[Attribute]:
    for attribute in event.attribute or ():
        yield _attribute(attribute, event, None)
    for holder in event.object or ():
        for attribute in holder.attribute or ():
            yield _attribute(attribute, event, holder)


def _not_read(event: _Event, place: str) -> Iterator[Attribute]:
    """What is counted only."""
    owners: list[_Event | _Attribute] = [event, *(event.attribute or ())]
    owners += [a for holder in event.object or () for a in holder.attribute or ()]
    proposal = Attribute(type="", value="", uuid="", to_ids=True, place=place, skipped=PROPOSAL)
    stray = Attribute(type="", value="", uuid="", to_ids=True, place=place, refused=STRAY)
    for owner in owners:
        yield from (proposal for _ in owner.proposals or ())
    yield from (stray for _ in event.strays or ())


def _attribute(attribute: _Attribute, event: _Event, holder: _Object | None) -> Attribute:
    origin = attribute.event or event
    tags = [*(event.tag or ()), *(attribute.tag or ())]
    return Attribute(
        type=_text(attribute.type),
        value=_text(attribute.value),
        uuid=_text(attribute.uuid),
        event_id=_text(origin.id) or _text(attribute.event_id),
        event_uuid=_text(origin.uuid),
        event_info=_text(origin.info),
        org=_text(origin.orgc.name) if origin.orgc else "",
        date=_text(origin.date) or _day(_text(attribute.timestamp)),
        category=_text(attribute.category),
        comment=_text(attribute.comment),
        timestamp=_text(attribute.timestamp),
        to_ids=is_set(attribute.to_ids),
        deleted=is_set(attribute.deleted) or (holder is not None and is_set(holder.deleted)),
        published=event.published is None or is_set(event.published),
        last_seen=_text(attribute.last_seen),
        tags=tuple(dict.fromkeys(_text(tag.name) for tag in tags)),
        object_relation=_text(attribute.object_relation),
        object_uuid=_text(holder.uuid) if holder else "",
    )


def _day(timestamp: str) -> str:
    """The search of attributes tells no date of the event: the attribute's own is near."""
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) < 12):
        return ""
    return datetime.fromtimestamp(int(timestamp), UTC).date().isoformat()


def _text(value: Text) -> str:
    return "" if value is None else str(value)


def is_set(value: Flag) -> bool:
    """Whether a flag in any of MISP's spellings is set."""
    return value.strip().lower() in ("1", "true") if isinstance(value, str) else bool(value)


def _problem(error: Exception) -> str:
    # The decoder's text says where and of what type, and may quote a tag; never a value.
    if isinstance(error, msgspec.ValidationError):
        return f"is not a MISP event ({error})"
    if isinstance(error, UnicodeError):
        return "is not UTF-8"
    return "is cut off" if "truncated" in str(error) else "is not JSON"


def _line(data: bytes, error: Exception) -> int | None:
    if isinstance(error, msgspec.ValidationError):
        return None
    if "truncated" in str(error):
        return data.count(b"\n") + 1
    found = _POSITION.search(str(error))
    return data.count(b"\n", 0, int(found[1])) + 1 if found else None


def _is_json(file: SourceFile) -> bool:
    return file.is_json


FORMAT: Final = FileFormat("MISP event", (".json",), _is_json, read_event_file)
