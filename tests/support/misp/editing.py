"""The part of MISP's API that makes, changes and removes events. Who asks holds its lock.

Answers have the forms of MISP's API description. An edit unpublishes its event; what does not
(an object deleted for good, a merge) is in `store.py`, with the exchange it was taken from.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from support.misp.answers import Answer, Query, Role, error, forbidden
from support.misp.store import Attribute, Event, Misp

if TYPE_CHECKING:
    from support.misp.server import MispServer

Handler = Callable[..., Answer]


class EditingApi:
    """Answers what makes, changes and removes; nothing of it with a read-only key."""

    def __init__(self, server: MispServer) -> None:
        self._server = server
        self.routes: list[tuple[str, Handler]] = [
            (pattern, _writing(handler))
            for pattern, handler in (
                (r"/events/add", self._add_event),
                (r"/events/(publish|unpublish|delete)/([^/]+)", self._change_event),
                (r"/events/merge/([^/]+)/([^/]+)", self._merge),
                (r"/attributes/add/([^/]+)", self._add_attribute),
                (r"/attributes/edit/([^/]+)", self._edit_attribute),
                (r"/attributes/delete/([^/]+)(?:/([01]))?", self._delete_attribute),
                (r"/attributes/restore/([^/]+)", self._restore_attribute),
                (r"/objects/add/([^/]+)", self._add_object),
                (r"/objects/delete/([^/]+)(?:/([01]))?", self._delete_object),
                (r"/tags/attachTagToObject", self._attach_tag),
                (r"/tags/add", self._add_tag),
                (r"/tags/delete/([^/]+)", self._delete_tag),
            )
        ]

    @property
    def _misp(self) -> Misp:
        return self._server.misp

    def _add_event(self, role: Role, body: Query) -> Answer:
        given = body.get("Event", body)
        names = [str(tag["name"]) for tag in given.get("Tag", [])]
        made = self._misp.add_event(
            str(given.get("info", "")), org=role.org, tags=names, publish=False
        )
        made.uuid = str(given.get("uuid") or made.uuid)
        made.distribution = int(given.get("distribution", made.distribution))
        for item in given.get("Attribute", []):
            self._made(made, item)
        shown = self._server.event(made)
        rows = [_row(a) for a in self._misp.attributes_of(made)]
        return Answer({"Event": {**shown, "Attribute": rows}})

    def _change_event(self, role: Role, body: Query, act: str, given: str) -> Answer:
        event = self._own_event(given, role)
        if event is None:
            return error(404, "Invalid event.", f"/events/{act}/{given}")
        if act == "publish":
            self._misp.publish(event)
            return Answer({"name": "Publish", "message": "Job queued", "id": str(event.id)})
        (self._misp.unpublish if act == "unpublish" else self._misp.delete_event)(event)
        return _saved(f"Event {'unpublished' if act == 'unpublish' else 'deleted'}.")

    def _merge(self, role: Role, body: Query, target: str, source: str) -> Answer:
        into, other = self._own_event(target, role), self._own_event(source, role)
        if into is None or other is None:
            return error(404, "Invalid event.", f"/events/merge/{target}/{source}")
        self._misp.merge(into, other)
        return Answer([_row(a) for a in self._misp.attributes_of(into)])

    def _add_attribute(self, role: Role, body: Query, given: str) -> Answer:
        event = self._own_event(given, role)
        if event is None:
            return error(404, "Invalid event.", f"/attributes/add/{given}")
        return Answer({"Attribute": _row(self._made(event, body.get("Attribute", body)))})

    def _edit_attribute(self, role: Role, body: Query, given: str) -> Answer:
        attribute = self._own_attribute(given, role)
        if attribute is None:
            return error(404, "Invalid attribute.", f"/attributes/edit/{given}")
        named = body.get("Attribute", body)
        known = ("value", "to_ids", "comment", "category", "type")
        self._misp.edit(attribute, **{name: named[name] for name in known if name in named})
        return Answer({"Attribute": _row(attribute)})

    def _delete_attribute(self, role: Role, body: Query, given: str, hard: str) -> Answer:
        attribute = self._own_attribute(given, role)
        if attribute is None:
            return error(404, "Invalid attribute.", f"/attributes/delete/{given}")
        self._misp.delete(attribute, hard=hard == "1" or bool(body.get("hard")))
        return Answer({"message": "Attribute deleted."})

    def _restore_attribute(self, role: Role, body: Query, given: str) -> Answer:
        attribute = self._own_attribute(given, role)
        if attribute is None:
            return error(404, "Invalid attribute.", f"/attributes/restore/{given}")
        self._misp.edit(attribute, deleted=False)
        return Answer({"Attribute": _row(attribute)})

    def _add_object(self, role: Role, body: Query, given: str) -> Answer:
        event = self._own_event(given, role)
        if event is None:
            return error(404, "Invalid event.", f"/objects/add/{given}")
        number = 1 + max((a.object_id for a in self._misp.attributes.values()), default=0)
        item = body.get("Object", body)
        rows = [_row(self._made(event, {**one, "object_id": number})) for one in item["Attribute"]]
        name = {"name": item.get("name"), "uuid": item.get("uuid") or str(uuid.uuid4())}
        return Answer({"Object": {"id": str(number), **name, "Attribute": rows}})

    def _delete_object(self, role: Role, body: Query, given: str, hard: str) -> Answer:
        of_object = [
            a
            for a in self._misp.attributes.values()
            if str(a.object_id) == given != "0" and a.event.org == role.org
        ]
        if not of_object:
            return error(404, "Invalid object.", f"/objects/delete/{given}")
        if hard == "1" or body.get("hard"):
            self._misp.delete_object(of_object[0].event, int(given))
        else:
            for attribute in of_object:
                self._misp.delete(attribute)
        return _saved("Object deleted")

    def _attach_tag(self, role: Role, body: Query) -> Answer:
        name, tag = str(body.get("uuid")), str(body.get("tag"))
        if (event := self._own_event(name, role)) is not None:
            self._misp.tag(event, *dict.fromkeys([*event.tags, tag]))
        elif (attribute := self._own_attribute(name, role)) is not None:
            self._misp.edit(attribute, tags=[*dict.fromkeys([*attribute.tags, tag])])
        else:
            return error(404, "Invalid Target.", "/tags/attachTagToObject")
        return _saved("Tag attached.")

    def _add_tag(self, role: Role, body: Query) -> Answer:
        name = str(body.get("Tag", body).get("name"))
        self._misp.made_tags.add(name)
        return Answer({"Tag": next(t for t in self._server.tags() if t["name"] == name)})

    def _delete_tag(self, role: Role, body: Query, given: str) -> Answer:
        found = next((t["name"] for t in self._server.tags() if t["id"] == given), None)
        if found is None:
            return error(404, "Invalid tag.", f"/tags/delete/{given}")
        self._misp.made_tags.discard(found)
        for one in (*self._misp.events.values(), *self._misp.attributes.values()):
            one.tags[:] = [name for name in one.tags if name != found]
        self._misp.revision += 1
        return _saved("Tag deleted.")

    def _made(self, event: Event, item: Query) -> Attribute:
        return self._misp.add_attribute(
            event,
            str(item["type"]),
            str(item["value"]),
            to_ids=bool(item.get("to_ids", True)),
            tags=[str(tag["name"]) for tag in item.get("Tag", [])],
            object_id=int(item.get("object_id", 0)),
            uuid_=item.get("uuid"),
            category=str(item.get("category") or "Network activity"),
        )

    def _own_event(self, given: str, role: Role) -> Event | None:
        """By id or UUID; others' events are not changed."""
        events = (e for e in self._misp.events.values() if e.org == role.org)
        return next((e for e in events if given in (str(e.id), e.uuid)), None)

    def _own_attribute(self, given: str, role: Role) -> Attribute | None:
        number = int(given) if re.fullmatch(r"\d+", given) else 0
        found = self._misp.attributes.get(number) or self._misp.attribute_uuids.get(given)
        return found if found and found.event.org == role.org else None


def _writing(handler: Handler) -> Handler:
    def guarded(role: Role, body: Query, *given: str) -> Answer:
        return forbidden("") if role.read_only else handler(role, body, *given)

    return guarded


def _saved(said: str) -> Answer:
    return Answer({"saved": True, "success": True, "name": said, "message": said})


def _row(attribute: Attribute) -> dict[str, Any]:
    return {
        "id": str(attribute.id),
        "uuid": attribute.uuid,
        "event_id": str(attribute.event.id),
        "object_id": str(attribute.object_id),
        "type": attribute.type,
        "value": attribute.value,
        "to_ids": attribute.to_ids,
        "deleted": attribute.deleted,
        "timestamp": str(attribute.timestamp),
    }
