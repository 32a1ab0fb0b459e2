"""The part of MISP's API that is about sightings. Who asks holds the MISP's lock."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from support.misp.answers import Answer, Query, Role, error, forbidden
from support.misp.store import Attribute, Event, Misp, Sighting

if TYPE_CHECKING:
    from support.misp.server import MispServer

_WINDOW_SECONDS = 30 * 86_400
_LONGEST_SOURCE = 255  # the column's
_NO_EVENT = "Event not found or not accessible by this user."


class SightingsApi:
    """Answers what begins with /sightings/."""

    def __init__(self, server: MispServer) -> None:
        self._server = server

    @property
    def _misp(self) -> Misp:
        return self._server.misp

    def add(self, role: Role, body: Query, given: str = "") -> Answer:
        """POST /sightings/add[/ATTRIBUTE]"""
        if not role.perm_sighting or role.read_only:
            return forbidden("/sightings/add")
        body = body.get("Sighting", body)
        values = body.get("values") or ([body["value"]] if "value" in body else [])
        wanted = given or body.get("uuid") or body.get("id")
        found = self._by_values(values, role) if values else self._attribute(wanted, role)
        source = str(body.get("source", "")).strip()
        if self._fails_at(source):
            return error(500, "An Internal Error Has Occurred.", "/sightings/add")
        if not found:
            said = "No valid attributes found that match the criteria."
            status = 200 if self._server.facts.add_refuses_with_200 else 403
            return Answer({"message": f"Could not add the Sighting. Reason: {said}"}, status)
        when = int(body.get("timestamp") or self._misp.now())
        kind = str(body.get("type", "0"))
        for attribute in found:
            made = self._misp.add_sighting(attribute, kind, source, when, org=role.org)
        return Answer({"Sighting": self._row(made, with_organisation=False)})

    def bulk_save(self, role: Role, body: Any, event: str) -> Answer:
        """POST /sightings/bulkSaveSightings/EVENT"""
        path = f"/sightings/bulkSaveSightings/{event}"
        if not self._server.bulk_sightings:
            return error(404, "Not Found", path)
        if role.read_only or not (role.perm_sighting or role.perm_sync):
            return forbidden("/sightings/bulkSaveSightings")
        if self._event(event, role) is None:
            return error(405 if self._server.facts.unknown_event_is_405 else 404, _NO_EVENT, path)
        given = body.get("Sighting", body) if isinstance(body, dict) else body
        new = [(item, a) for item in given if (a := self._about(item, role)) is not None]
        if self._server.facts.bulk_is_all_or_nothing:
            if any(self._fails_at(str(item.get("source", ""))) for item, _ in new):
                return error(500, "An Internal Error Has Occurred.", path)
            if not all(self._is_valid(item) for item, _ in new):
                new = []
        saved = sum(self._save(item, a, role) for item, a in new if self._is_valid(item))
        said = f"{saved} sightings added." if saved else "No sightings added."
        return Answer({"saved": saved > 0, "success": said})

    def search(self, role: Role, body: Query, context: str = "") -> Answer:
        """POST /sightings/restSearch[/attribute|/event]"""
        path = f"/sightings/restSearch/{context}"
        if context and not body.get("id") and not body.get("uuid"):
            return error(405, "An ID or UUID must be provided if the context is set.", path)
        if wrong := self._wrong_id(body):
            return error(400, f"Invalid ID `{wrong}` provided.", path)
        by_uuid = body.get("uuid")
        if context == "event" and by_uuid and not isinstance(by_uuid, list):
            return error(500, "An Internal Error Has Occurred.", path)
        if not self._server.instance.loads_sightings:
            return Answer({"response": []})
        found = [
            {"Sighting": self._row(s, with_value=True)}
            for s in self._seen_by(role)
            if self._matches(s, context, body)
        ]
        return Answer({"response": found})

    def of_event(self, role: Role, body: Query, event: str = "") -> Answer:
        """GET /sightings/index[/EVENT]: unlike a search, with the attributes' UUIDs."""
        rows = [
            {**self._row(s), "attribute_uuid": s.attribute.uuid}
            for s in self._seen_by(role)
            if not event or event in (str(s.attribute.event.id), s.attribute.event.uuid)
        ]
        return Answer(rows if self._server.instance.loads_sightings else [])

    def delete(self, role: Role, body: Query, given: str) -> Answer:
        """POST /sightings/delete/SIGHTING"""
        for name, sighting in self._misp.sightings.items():
            if given in (name, str(sighting.id)) and sighting.org == role.org:
                del self._misp.sightings[name]
                said = "Sighting successfully deleted."
                return Answer({"saved": True, "success": True, "name": said, "message": said})
        return error(404, "Invalid sighting.", f"/sightings/delete/{given}")

    def _about(self, item: Query, role: Role) -> Attribute | None:
        """The attribute of a sighting that is to be saved; None: it is passed over."""
        known = item.get("uuid") in self._misp.sightings
        attribute = self._misp.attribute_uuids.get(item.get("attribute_uuid", ""))
        if attribute is None or (known and self._server.facts.bulk_skips_known_uuids):
            return None
        if attribute.deleted and not self._server.facts.bulk_takes_soft_deleted:
            return None
        return attribute if self._server.shows(attribute, role) else None

    def _fails_at(self, source: str) -> bool:
        return len(source) > _LONGEST_SOURCE or source in self._server.instance.failing_sources

    def _is_valid(self, item: Query) -> bool:
        source = item.get("source")
        return (
            _is_uuid(item.get("uuid"))
            and str(item.get("type")) in ("0", "1", "2")
            and str(item.get("date_sighting")).isdigit()
            and isinstance(source, str)
            and source not in self._server.instance.invalid_sources
        )

    def _save(self, item: Query, attribute: Attribute, role: Role) -> bool:
        name = str(item["uuid"])
        if name in self._misp.sightings:
            name = str(uuid.uuid4())
        when, kind = int(item["date_sighting"]), str(item["type"])
        self._misp.add_sighting(attribute, kind, item["source"], when, name, role.org)
        return True

    def _wrong_id(self, body: Query) -> Any:
        given = body.get("id")
        for one in given if isinstance(given, list) else [given] if given else []:
            is_number = isinstance(one, int) and not isinstance(one, bool)
            if is_number is not self._server.facts.ids_are_numbers:
                return one
        return None

    def _matches(self, sighting: Sighting, context: str, body: Query) -> bool:
        about = sighting.attribute if context == "attribute" else sighting.attribute.event
        names = _many(body.get("uuid"))
        return (
            (not context or not body.get("id") or about.id in map(int, _many(body["id"])))
            and (not context or not names or self._is_named(about, names))
            and (body.get("type") is None or sighting.type in map(str, _many(body["type"])))
            and (body.get("source") is None or sighting.source == body["source"])
            and self._is_in_time(sighting.date_sighting, body)
        )

    def _is_named(self, about: Attribute | Event, names: list[Any]) -> bool:
        return self._server.facts.searches_by_uuid and about.uuid in names

    def _is_in_time(self, moment: int, body: Query) -> bool:
        facts, since, until = self._server.facts, body.get("from"), body.get("to")
        if since is None or until is None or not facts.from_and_to_are_taken:
            return moment >= self._misp.now() - _WINDOW_SECONDS
        if facts.bounds_are_inclusive:
            return int(since) <= moment <= int(until)
        return int(since) < moment < int(until)

    def _seen_by(self, role: Role) -> list[Sighting]:
        """Those that the policy lets a user see, of what the user sees at all."""
        return [
            s
            for s in self._misp.sightings.values()
            if self._server.shows(s.attribute, role) and self._policy_shows(s, role)
        ]

    def _policy_shows(self, sighting: Sighting, role: Role) -> bool:
        event, instance = sighting.attribute.event, self._server.instance
        is_own = sighting.org == role.org
        if event.org == role.org:
            return True
        if instance.sightings_policy == 0:
            return is_own and self._server.facts.own_sightings_are_shown
        if instance.sightings_policy == 1:
            ours = (s for s in self._misp.sightings.values() if s.attribute.event is event)
            return any(s.org == role.org for s in ours)
        # With 3 not even the own ones, unless the own organisation is the host's.
        return instance.sightings_policy == 2 or (is_own and role.org == instance.host_org)

    def _row(
        self, sighting: Sighting, *, with_organisation: bool = True, with_value: bool = False
    ) -> dict[str, Any]:
        number = self._misp.org_id(sighting.org)
        row: dict[str, Any] = {
            "id": str(sighting.id),
            "attribute_id": str(sighting.attribute.id),
            "event_id": str(sighting.attribute.event.id),
            "org_id": str(number),
            "date_sighting": str(sighting.date_sighting),
            "uuid": sighting.uuid,
            "source": sighting.source,
            "type": sighting.type,
        }
        if with_organisation:
            name = {"uuid": self._misp.org_uuid(sighting.org), "name": sighting.org}
            row["Organisation"] = {"id": str(number), **name}
        if with_value:
            row["value"] = sighting.attribute.value
        return row

    def _attribute(self, given: Any, role: Role) -> list[Attribute]:
        """By id or UUID; of deleted ones nothing is known here."""
        number = int(given) if str(given).isdigit() else 0
        found = self._misp.attributes.get(number) or self._misp.attribute_uuids.get(str(given))
        return [found] if found and not found.deleted and self._server.shows(found, role) else []

    def _by_values(self, values: list[str], role: Role) -> list[Attribute]:
        return [
            a
            for a in self._misp.attributes.values()
            if a.value in values and not a.deleted and self._server.shows(a, role)
        ]

    def _event(self, given: str, role: Role) -> Event | None:
        for event in self._misp.events.values():
            if given in (str(event.id), event.uuid) and self._server.shows_event(event, role):
                return event
        return None


def _is_uuid(text: Any) -> bool:
    try:
        return str(uuid.UUID(str(text))) == str(text).lower()
    except ValueError:
        return False


def _many(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]
