"""The searches of MISP's API: filters, then pages, then warninglists and decay."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, NamedTuple

from support.misp.answers import Query, Role
from support.misp.facts import Facts
from support.misp.store import Attribute, Event, Misp


class Page(NamedTuple):
    """A page, and how many of its rows were taken out after paging."""

    rows: list[dict[str, Any]]
    skipped: int


class Search:
    """Searches one MISP; who asks holds its lock."""

    def __init__(self, misp: Misp, facts: Facts) -> None:
        self._misp = misp
        self._facts = facts
        self._cache: dict[str, list[Attribute]] = {}
        self._revision = -1

    def attributes(self, query: Query, role: Role) -> Page:
        """POST /attributes/restSearch, sorted by id."""
        shown = [a for a in self._matching(query) if self.shows(a, role)]
        rows = _page(shown, query)
        kept = [a for a in rows if not self._left_out(a, query)]
        return Page([self._attribute(a, query) for a in kept], len(rows) - len(kept))

    def events(self, query: Query, role: Role) -> list[dict[str, Any]]:
        """POST /events/restSearch; only the metadata, whether or not it was asked for."""
        found = [e for e in self._events_shown(role) if _event_matches(e, query, False)]
        return [{"Event": self.event(e)} for e in _page(found, query)]

    def index(self, query: Query, role: Role) -> list[dict[str, Any]]:
        """POST /events/index, which PyMISP's search_index uses."""
        found = [e for e in self._events_shown(role) if _event_matches(e, query, True)]
        page = _page(found, query)
        return [self.slim(e) if query.get("minimal") else self.event(e) for e in page]

    def tags(self) -> list[dict[str, Any]]:
        """GET /tags: all that there are."""
        of_all = [*self._misp.events.values(), *self._misp.attributes.values()]
        names = sorted({name for one in of_all for name in one.tags} | self._misp.made_tags)
        hidden = self._misp.unexportable
        return [
            {"id": str(number), "name": name, "exportable": name not in hidden}
            for number, name in enumerate(names, 1)
        ]

    def shows(self, attribute: Attribute, role: Role) -> bool:
        """Whether a user sees an attribute."""
        event = attribute.event
        shared = (
            (attribute.distribution, attribute.sharing_group),
            self._misp.objects.get(attribute.object_id, (5, "")),
        )
        is_shown = all(self._is_for(role, event.org, *one) for one in shared)
        return self.shows_event(event, role) and is_shown

    def shows_event(self, event: Event, role: Role) -> bool:
        """Whether a user sees an event."""
        return self._is_for(role, event.org, event.distribution, event.sharing_group)

    def _is_for(self, role: Role, owner: str, distribution: int, group: str) -> bool:
        if role.org == owner or not self._facts.distribution_hides:
            return True
        # 0 the own organisation, 1 to 3 all here, 4 a sharing group, 5 as the event.
        members = self._misp.sharing_groups.get(group, set())
        return distribution in (1, 2, 3, 5) or (distribution == 4 and role.org in members)

    def _events_shown(self, role: Role) -> list[Event]:
        return [e for e in self._misp.events.values() if self.shows_event(e, role)]

    def event(self, event: Event) -> dict[str, Any]:
        """An event's metadata."""
        org = {"id": str(self._misp.org_id(event.org)), "name": event.org}
        return {
            **self.slim(event),
            "info": event.info,
            "date": event.date,
            "org_id": org["id"],
            "orgc_id": org["id"],
            "publish_timestamp": str(event.publish_timestamp),
            "Org": org,
            "Orgc": org,
            "Tag": [{"name": name} for name in self._exported(event.tags)],
        }

    def slim(self, event: Event) -> dict[str, Any]:
        """An event as in the minimal index."""
        return {
            "id": str(event.id),
            "uuid": event.uuid,
            "timestamp": str(event.timestamp),
            "sighting_timestamp": "0",
            "published": event.published,
            "orgc_uuid": self._misp.org_uuid(event.org),
        }

    def _matching(self, query: Query) -> list[Attribute]:
        """Before paging; remembered until something changes, so that pages cost little."""
        if self._revision != self._misp.revision:
            self._cache.clear()
            self._revision = self._misp.revision
        paging = ("page", "limit")
        key = repr(sorted((k, v) for k, v in query.items() if k not in paging))
        if key not in self._cache:
            found = self._misp.attributes.values()
            self._cache[key] = [a for a in found if _attribute_matches(a, query)]
        return self._cache[key]

    def _exported(self, tags: Iterable[str]) -> list[str]:
        hidden = self._misp.unexportable if self._facts.unexportable_tags_are_hidden else set()
        return [name for name in tags if name not in hidden]

    def _left_out(self, attribute: Attribute, query: Query) -> bool:
        warned = query.get("enforceWarninglist") and attribute.value in self._misp.warninglist
        return bool(warned or (query.get("excludeDecayed") and attribute.decayed))

    def _attribute(self, attribute: Attribute, query: Query) -> dict[str, Any]:
        event = attribute.event
        org = str(self._misp.org_id(event.org))
        item: dict[str, Any] = {
            "id": str(attribute.id),
            "event_id": str(event.id),
            "object_id": str(attribute.object_id),
            "object_relation": "value" if attribute.object_id else None,
            "category": attribute.category,
            "type": attribute.type,
            "value": attribute.value,
            "to_ids": attribute.to_ids,
            "uuid": attribute.uuid,
            "timestamp": str(attribute.timestamp),
            "distribution": str(attribute.distribution),
            "comment": attribute.comment,
            "deleted": attribute.deleted,
            "first_seen": None,
            "last_seen": None,
            "Event": {
                "id": str(event.id),
                "uuid": event.uuid,
                "info": event.info,
                "org_id": org,
                "orgc_id": org,
            },
        }
        tags: list[dict[str, Any]] = [{"name": name} for name in self._exported(attribute.tags)]
        if query.get("includeEventTags"):
            tags += [{"name": n, "inherited": True} for n in self._exported(event.tags)]
        if tags:
            item["Tag"] = tags
        if query.get("includeEventUuid"):
            item["event_uuid"] = event.uuid
        if query.get("includeContext"):
            item["Event"] = self.event(event)
        return item


def _page(found: Iterable[Any], query: Query) -> list[Any]:
    rows = list(found) if not isinstance(found, list) else found
    limit = int(query.get("limit") or 0)
    if not limit:
        return rows
    start = (int(query.get("page") or 1) - 1) * limit
    return rows[start : start + limit]


def _attribute_matches(attribute: Attribute, query: Query) -> bool:
    deleted = query.get("deleted")
    flags = {False} if deleted is None else {bool(int(flag)) for flag in _many(deleted)}
    to_ids = query.get("to_ids")
    return (
        attribute.deleted in flags
        and (to_ids is None or attribute.to_ids == bool(int(to_ids)))
        and _in(attribute.type, query.get("type"))
        and _in(attribute.uuid, query.get("uuid"))
        and _since(attribute.timestamp, query.get("timestamp"))
        and _since(attribute.event.timestamp, query.get("event_timestamp"))
        and _tagged([*attribute.tags, *attribute.event.tags], query.get("tags"))
        and _event_of_attribute_matches(attribute.event, query)
    )


def _event_of_attribute_matches(event: Event, query: Query) -> bool:
    # MISP compares with the numeric id only.
    return (
        _in(str(event.id), query.get("eventid"))
        and _in(event.org, query.get("org"))
        and _published(event, query)
        and _since(event.publish_timestamp, query.get("publish_timestamp"))
    )


def _event_matches(event: Event, query: Query, index: bool) -> bool:
    return (
        _event_of_attribute_matches(event, query)
        and _in(event.uuid, query.get("uuid"))
        and _since(event.timestamp, query.get("timestamp"))
        and _tagged(event.tags, query.get("tags"))
    )


def _published(event: Event, query: Query) -> bool:
    wanted = query.get("published")
    return wanted is None or event.published == bool(wanted)


def _since(value: int, since: Any) -> bool:
    return since is None or value >= int(since)


def _tagged(tags: Collection[str], wanted: Any) -> bool:
    return not wanted or any(_like(tag, pattern) for tag in tags for pattern in _many(wanted))


def _like(text: str, pattern: str) -> bool:
    return text == pattern or ("%" in pattern and pattern.strip("%") in text)


def _in(value: str, wanted: Any) -> bool:
    return wanted in (None, "", []) or value in {str(item) for item in _many(wanted)}


def _many(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]
