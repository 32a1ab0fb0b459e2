"""Events in a MISP that somebody runs, made through its API and removed again.

What was made is kept as a model: what a reader should hold is known without asking MISP.
"""

from __future__ import annotations

import hashlib
import json
import random
import uuid
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

from pymisp import AbstractMISP, MISPObject

from inkgate.misp.connector import Connector
from inkgate.misp.errors import MispError
from inkgate.misp.sightings import rows
from inkgate.rules.canonical.classes import CLASSES
from inkgate.rules.canonical.misp_types import MISP_TYPES
from support.observations import part
from support.waiting import wait_until

RIGHTS = ("perm_add", "perm_modify", "perm_publish", "perm_tagger", "perm_tag_editor")
# MISP publishes by a job in the background.
_PUBLISHED_SECONDS = 120.0
# Nothing of it leaves the organisation that makes it, nor the MISP.
_OWN_ORGANISATION = "0"
# Its value comes with a file.
_NOT_MADE = frozenset(("malware-sample",))
TYPES = tuple(
    name
    for name, known in CLASSES.items()
    if known.observed_at and name in MISP_TYPES and name not in _NOT_MADE
)


@dataclass
class Made:
    """An attribute; `object_id` is MISP's number of the object that it is in, or empty."""

    uuid: str
    type: str
    value: str
    to_ids: bool = True
    deleted: bool = False
    object_id: str = ""


@dataclass
class MadeEvent:
    """An event; `id` is MISP's number of it, empty as long as MISP has not answered."""

    uuid: str
    info: str
    id: str = ""
    published: bool = False
    attributes: list[Made] = field(default_factory=list)


class Workshop:
    """Makes, changes and removes events of its own, and no others.

    Args:
        connector: the MISP.
        tag: that each event is given; nobody else's event may have it.
        seed: of the choice of values.
    """

    def __init__(self, connector: Connector, tag: str, seed: int) -> None:
        self.tag = tag
        self.events: list[MadeEvent] = []
        self._misp = connector
        self._random = random.Random(seed)
        self._number = 0
        self._gone: list[tuple[str, str]] = []

    def call(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """POST with a body, GET without."""
        return self._misp.request(lambda misp: misp.direct_call(path, body))

    def owner(self) -> dict[str, Any]:
        """The owner of the key: User, Role and Organisation."""
        found: dict[str, Any] = self.call("users/view/me")
        return found

    def tagged(self) -> int:
        """How many events have the tag."""
        body = {"returnFormat": "json", "metadata": True, "tags": [self.tag]}
        return len(rows(self.call("events/restSearch", body), "Event") or [])

    def make(self, types: Sequence[str], *, publish: bool = True) -> MadeEvent:
        """An event with an attribute of each type; the tag is there before it is published."""
        event = MadeEvent(str(uuid.uuid4()), f"inkgate's trial, may be deleted: {self.tag}")
        event.attributes = [self.attribute(name) for name in types]
        # Known before it is made, so that it is removed also if the answer never comes.
        self.events.append(event)
        items = [_item(made, n) for n, made in enumerate(event.attributes)]
        answer = self.call(
            "events/add",
            {
                "Event": {
                    "uuid": event.uuid,
                    "info": event.info,
                    "distribution": _OWN_ORGANISATION,
                    "threat_level_id": "4",
                    "analysis": "0",
                    "Tag": [{"name": self.tag}],
                    "Attribute": items,
                }
            },
        )
        event.id = str(answer["Event"]["id"])
        if publish:
            self.publish(event)
        return event

    def attribute(self, name: str, *, to_ids: bool = True) -> Made:
        """A new one that no event has yet."""
        self._number += 1
        return Made(str(uuid.uuid4()), name, _value(name, self._number), to_ids)

    def any_types(self, count: int) -> list[str]:
        return [self._random.choice(TYPES) for _ in range(count)]

    def add(self, event: MadeEvent, made: Made) -> None:
        self.call(f"attributes/add/{event.id}", _item(made))
        event.attributes.append(made)
        event.published = False

    def add_object(self, event: MadeEvent) -> list[Made]:
        """A domain and an address of MISP's template domain-ip."""
        members = {name: self.attribute(kind) for name, kind in _OBJECT.items()}
        built = MISPObject("domain-ip")
        for relation, made in members.items():
            built.add_attribute(relation, value=made.value, uuid=made.uuid, to_ids=True)
        body = json.loads(AbstractMISP.to_json(built))
        answer = self.call(f"objects/add/{event.id}", body)
        for made in members.values():
            made.object_id = str(answer["Object"]["id"])
        event.attributes += members.values()
        event.published = False
        return list(members.values())

    def tag_attribute(self, event: MadeEvent, made: Made) -> None:
        self.call("tags/attachTagToObject", {"uuid": made.uuid, "tag": self.tag, "local": False})
        event.published = False

    def edit(self, event: MadeEvent, made: Made, **changes: Any) -> None:
        """Set `value` or `to_ids`."""
        self._gone.append((made.type, made.value))
        self.call(f"attributes/edit/{made.uuid}", changes)
        for name, value in changes.items():
            setattr(made, name, value)
        event.published = False

    def delete(self, event: MadeEvent, made: Made, *, hard: bool) -> None:
        self.call(f"attributes/delete/{made.uuid}", {"hard": 1} if hard else {})
        made.deleted = True
        event.published = False

    def restore(self, event: MadeEvent, made: Made) -> None:
        """Bring a softly deleted one back."""
        self.call(f"attributes/restore/{made.uuid}", {})
        made.deleted = False
        event.published = False

    def delete_object(self, event: MadeEvent, object_id: str) -> None:
        """For good: MISP changes neither the event's timestamp nor its publication."""
        self.call(f"objects/delete/{object_id}/1", {})
        for made in event.attributes:
            made.deleted = made.deleted or made.object_id == object_id

    def merge(self, target: MadeEvent, source: MadeEvent) -> None:
        """The source's attributes are in the target, too, with UUIDs that MISP gives them."""
        self.call(f"events/merge/{target.id}/{source.id}", {})
        known = {made.uuid for made in target.attributes}
        new = {
            (str(row["type"]), str(row["value"])): str(row["uuid"])
            for row in self._rows(target)
            if row["uuid"] not in known
        }
        for made in source.attributes:
            name = new.get((made.type, made.value))
            assert made.deleted or name, f"the merge has left out an attribute ({made.type})"
            target.attributes.append(replace(made, uuid=name or "", object_id=""))
        target.published = self._is_published(target)

    def publish(self, event: MadeEvent) -> None:
        """Publish without telling anybody by mail, and wait until it is."""
        self.call(f"events/publish/{event.id}", {})
        wait_until(lambda: self._is_published(event), "a published event", _PUBLISHED_SECONDS)
        event.published = True

    def unpublish(self, event: MadeEvent) -> None:
        self.call(f"events/unpublish/{event.id}", {})
        event.published = False

    def delete_event(self, event: MadeEvent) -> None:
        self.call(f"events/delete/{event.uuid}", {})
        self._gone += [(made.type, made.value) for made in event.attributes]
        self.events.remove(event)

    def sightings(self, event: MadeEvent) -> Counter[str]:
        """How many sightings MISP lists of each attribute of an event."""
        found = rows(self.call(f"sightings/index/{event.id}"), "Sighting") or []
        return Counter(str(row["attribute_uuid"]) for row in found)

    def truth(self) -> set[str]:
        """UUIDs of what a reader should hold now."""
        return {
            made.uuid
            for event in self.events
            for made in event.attributes
            if event.published and made.to_ids and not made.deleted
        }

    def types_of(self, uuids: Collection[str]) -> list[str]:
        """The types of some attributes; what a failure tells, since values are not for logs."""
        made = (made for event in self.events for made in event.attributes)
        return sorted({one.type for one in made if one.uuid in uuids})

    def values(self) -> set[tuple[str, str]]:
        """All types and values that were ever there."""
        now = {(made.type, made.value) for event in self.events for made in event.attributes}
        return now | set(self._gone)

    def remove(self) -> list[str]:
        """Delete all events that were made, and the tag.

        Returns:
            what could not be removed, and why.
        """
        left: list[str] = []
        for event in list(self.events):
            try:
                self.delete_event(event)
            except MispError as error:
                # One whose answer was lost may never have been made.
                if event.id:
                    left.append(f"event {event.id}: {error.problem}")
        try:
            if count := self.tagged():
                left.append(f"{count} events with the tag")
            self._remove_tag()
        except MispError as error:
            left.append(f"the tag {self.tag}: {error.problem}")
        return left

    def _remove_tag(self) -> None:
        found = rows(self.call("tags/index"), "Tag") or []
        for tag in found:
            if tag.get("name") == self.tag:
                self.call(f"tags/delete/{tag['id']}", {})

    def _is_published(self, event: MadeEvent) -> bool:
        body = {"returnFormat": "json", "metadata": True, "eventid": [event.id]}
        found = rows(self.call("events/restSearch", body), "Event") or []
        return any(row.get("published") in (True, 1, "1") for row in found)

    def _rows(self, event: MadeEvent) -> list[dict[str, Any]]:
        body = {"returnFormat": "json", "eventid": [event.id]}
        return rows(self.call("attributes/restSearch", body), "Attribute") or []


_OBJECT = {"domain": "domain", "ip": "ip-dst"}
# What MISP takes of these types only in a certain form, and what is easily spoiled on the way.
_VALUES: dict[str, Callable[[int], str]] = {
    "url": "http://url{}.example/a b/ünï?q=\"x\"&r='y'".format,
    "uri": "http://uri{}.example/ü,;'quoted'".format,
    "link": "https://link{}.example/%22/文".format,
    "user-agent": "Agent/{}.0 (U; \"quoted\", 'too'; ü)".format,
    "filename": 'invoice "{}", ümläut 文.exe'.format,
    "mutex": 'Global\\{{{}}}, "m"'.format,
    "regkey": "HKLM\\Software\\Made Up {}".format,
    "AS": "{}".format,
    "ssdeep": "96:s4Ud1Lj96tHHlZDrwciQm{}:9nHa".format,
    "tlsh": lambda n: f"T1{hashlib.sha256(b'%d' % n).hexdigest()}{n:06x}"[:72].upper(),
    "jarm-fingerprint": lambda n: hashlib.sha256(b"%d" % n).hexdigest()[:62],
    "email-src": "from{}@mail.example".format,
    "email-dst": "to{}@mail.example".format,
    "email-reply-to": "reply{}@mail.example".format,
    "email-subject": 'Re: "invoice" {}, ü'.format,
    "email-header": "X-Made-Up: {}".format,
}
_PARTS: dict[str, Callable[[int], str]] = {
    "filename": 'name "{}" ü.exe'.format,
    "filename|impfuzzy": "24:8fg{}:8fg1".format,
    "filename|ssdeep": _VALUES["ssdeep"],
    "filename|tlsh": _VALUES["tlsh"],
    "filename|vhash": lambda n: f"{n:06}5d1d05651d5138z11zz13fz",
    "regkey": _VALUES["regkey"],
}


def _value(name: str, number: int) -> str:
    if name in _VALUES:
        return _VALUES[name](number)
    head, _, tail = name.partition("|")
    texts = [_plain(name, n, number) for n in range(len(CLASSES[name].forms))]
    if tail and head in _PARTS:
        texts[0] = _PARTS[head](number)
    if name in _PARTS:
        texts[-1] = _PARTS[name](number)
    return "|".join(texts)


def _plain(name: str, index: int, number: int) -> str:
    form = CLASSES[name].forms[index]
    if form.kind == "ip":
        # Of RFC 2544; every third one is of IPv6.
        v6 = f"2001:db8::{number:x}"
        return v6 if number % 3 == 0 else f"198.18.{number // 256 % 256}.{number % 256}"
    return part(form, number)


def _item(made: Made, number: int = 0) -> dict[str, Any]:
    """An attribute as MISP's API takes it."""
    return {
        "uuid": made.uuid,
        "type": made.type,
        "category": _categories()[made.type]["default_category"],
        "value": made.value,
        "to_ids": made.to_ids,
        "distribution": "5",
        "comment": f'"made up" for a trial, ü {number}',
    }


@cache
def _categories() -> dict[str, Any]:
    from importlib.resources import files

    text = files("pymisp").joinpath("data", "describeTypes.json").read_bytes()
    found: dict[str, Any] = json.loads(text)["result"]["sane_defaults"]
    return found
