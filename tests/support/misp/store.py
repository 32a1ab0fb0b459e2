"""What the MISP holds, and how it is changed."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

SOFT, HARD = False, True


@dataclass
class Event:
    """An event. Times in seconds since 1970; `timestamp` is that of the last edit."""

    id: int
    uuid: str
    info: str
    org: str
    date: str
    timestamp: int
    tags: list[str] = field(default_factory=list)
    published: bool = False
    publish_timestamp: int = 0
    distribution: int = 3
    sharing_group: str = ""


@dataclass
class Attribute:
    """An attribute; `decayed` is what MISP's decaying models would say of it."""

    id: int
    uuid: str
    event: Event
    type: str
    value: str
    to_ids: bool
    timestamp: int
    tags: list[str] = field(default_factory=list)
    category: str = "Network activity"
    comment: str = ""
    object_id: int = 0
    deleted: bool = False
    decayed: bool = False
    distribution: int = 5
    sharing_group: str = ""


@dataclass
class Sighting:
    """Type 0 is a sighting, 1 a false positive, 2 an expiration."""

    id: int
    uuid: str
    attribute: Attribute
    date_sighting: int
    type: str
    source: str
    org: str


class Misp:
    """Events, attributes, sightings, warninglists. All methods may be called by any thread.

    Every edit sets the event's timestamp and, as in MISP, unpublishes it until
    `publish` is called.

    Attributes:
        skew: seconds by which this MISP's clock is ahead of the real time.
        warninglist: values that MISP's enabled warninglists know.
        sharing_groups: the organisations of each. No event changes with them.
        unexportable: names of tags with exportable = 0. No event changes with them.
        made_tags: names of tags that were made before anything had them.
        objects: distribution and sharing group of those that have others than their event's.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.skew = 0
        self.events: dict[int, Event] = {}
        self.attributes: dict[int, Attribute] = {}
        self.attribute_uuids: dict[str, Attribute] = {}
        self.sightings: dict[str, Sighting] = {}
        self.warninglist: set[str] = set()
        self.orgs: dict[str, int] = {}
        self.sharing_groups: dict[str, set[str]] = {}
        self.unexportable: set[str] = set()
        self.made_tags: set[str] = set()
        self.objects: dict[int, tuple[int, str]] = {}
        self.revision = 0
        self._ids = {"event": 0, "attribute": 0, "sighting": 0}

    def now(self) -> int:
        """This MISP's clock."""
        return int(time.time()) + self.skew

    def add_event(
        self,
        info: str,
        attributes: Iterable[tuple[str, str]] = (),
        *,
        org: str = "ORG",
        tags: Iterable[str] = (),
        date: str = "2026-01-01",
        publish: bool = True,
    ) -> Event:
        """An event with to_ids attributes, given as (type, value); published at once by default."""
        with self.lock:
            self.org_id(org)
            event = Event(
                self._next("event"), str(uuid.uuid4()), info, org, date, self.now(), list(tags)
            )
            self.events[event.id] = event
            for name, value in attributes:
                self.add_attribute(event, name, value)
            if publish:
                self.publish(event)
            return event

    def add_attribute(
        self,
        event: Event,
        type_: str,
        value: str,
        *,
        to_ids: bool = True,
        tags: Iterable[str] = (),
        object_id: int = 0,
        uuid_: str | None = None,
        **more: Any,
    ) -> Attribute:
        """A new attribute; `more` are other fields of `Attribute`."""
        with self.lock:
            made = Attribute(
                self._next("attribute"),
                uuid_ or str(uuid.uuid4()),
                event,
                type_,
                value,
                to_ids,
                self.now(),
                list(tags),
                object_id=object_id,
                **more,
            )
            self.attributes[made.id] = made
            self.attribute_uuids[made.uuid] = made
            self._edited(event)
            return made

    def edit(self, attribute: Attribute, **changes: Any) -> None:
        """Set fields of an attribute: `edit(a, to_ids=False)`, `edit(a, value="b.example")`."""
        with self.lock:
            for name, value in changes.items():
                setattr(attribute, name, value)
            attribute.timestamp = self.now()
            self._edited(attribute.event)

    def delete(self, attribute: Attribute, *, hard: bool = SOFT) -> None:
        """Soft deletion keeps the row; hard deletion leaves no trace."""
        with self.lock:
            if hard:
                self._drop(attribute)
                self._edited(attribute.event)
            else:
                self.edit(attribute, deleted=True)

    def delete_event(self, event: Event) -> None:
        """An event and all of its attributes, without a trace."""
        with self.lock:
            for attribute in self.attributes_of(event):
                self._drop(attribute)
            del self.events[event.id]
            self.revision += 1

    def delete_object(self, event: Event, object_id: int) -> None:
        """Hard, by the API: the object's attributes go, and neither the event's timestamp nor
        its publication changes (POST /objects/delete/7/1 -> 200; /events/view/5 as before)."""
        with self.lock:
            for attribute in self.attributes_of(event):
                if attribute.object_id == object_id:
                    self._drop(attribute)
            self.revision += 1

    def merge(self, target: Event, source: Event) -> None:
        """POST /events/merge/TARGET/SOURCE: the source's attributes are in the target, too,
        as new ones, and the target's timestamp and publication stay."""
        with self.lock:
            state = target.timestamp, target.published
            for attribute in self.attributes_of(source):
                made = self.add_attribute(
                    target, attribute.type, attribute.value, to_ids=attribute.to_ids
                )
                made.timestamp = attribute.timestamp
            target.timestamp, target.published = state

    def publish(self, event: Event) -> None:
        """Publish; the timestamp of the last edit stays."""
        with self.lock:
            event.published, event.publish_timestamp = True, self.now()
            self.revision += 1

    def unpublish(self, event: Event) -> None:
        """Unpublish without any other change."""
        with self.lock:
            event.published = False
            self.revision += 1

    def tag(self, event: Event, *tags: str) -> None:
        """Replace the tags of an event."""
        with self.lock:
            event.tags[:] = tags
            self._edited(event)

    def warn(self, *values: str) -> None:
        """Let a warninglist know values. No event changes by that."""
        with self.lock:
            self.warninglist.update(values)
            self.revision += 1

    def add_sighting(
        self,
        attribute: Attribute,
        type_: str = "0",
        source: str = "",
        date: int | None = None,
        uuid_: str | None = None,
        org: str = "ORG",
    ) -> Sighting:
        """One more sighting; a known UUID is not added again."""
        with self.lock:
            name = uuid_ or str(uuid.uuid4())
            if name not in self.sightings:
                when = self.now() if date is None else date
                number = self._next("sighting")
                self.sightings[name] = Sighting(number, name, attribute, when, type_, source, org)
            return self.sightings[name]

    def attributes_of(self, event: Event) -> list[Attribute]:
        with self.lock:
            return [a for a in self.attributes.values() if a.event is event]

    def truth(
        self,
        *,
        published: bool = True,
        types: Collection[str] = (),
        tags: Collection[str] = (),
        orgs: Collection[str] = (),
        enforce_warninglist: bool = True,
        exclude_decayed: bool = False,
    ) -> set[str]:
        """UUIDs of the attributes that a reader with these settings should hold now."""
        with self.lock:
            return {
                a.uuid
                for a in self.attributes.values()
                if a.to_ids
                and not a.deleted
                and (a.event.published or not published)
                and (not types or a.type in types)
                and (not tags or not set(tags).isdisjoint([*a.tags, *a.event.tags]))
                and (not orgs or a.event.org in orgs)
                and not (enforce_warninglist and a.value in self.warninglist)
                and not (exclude_decayed and a.decayed)
            }

    def org_id(self, name: str) -> int:
        """The number of an organisation, made when it is first named."""
        with self.lock:
            return self.orgs.setdefault(name, len(self.orgs) + 1)

    def org_uuid(self, name: str) -> str:
        """The UUID of an organisation."""
        return f"00000000-0000-4000-8000-{self.org_id(name):012d}"

    def _edited(self, event: Event) -> None:
        event.timestamp, event.published = self.now(), False
        self.revision += 1

    def _drop(self, attribute: Attribute) -> None:
        del self.attributes[attribute.id]
        del self.attribute_uuids[attribute.uuid]
        self.sightings = {k: s for k, s in self.sightings.items() if s.attribute is not attribute}

    def _next(self, what: str) -> int:
        self._ids[what] += 1
        return self._ids[what]
