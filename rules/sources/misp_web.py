"""A MISP through its REST API, mirrored event by event.

MISP has no list of what was deleted, and a page of a search begins after so many rows,
so whatever is changed while we read moves rows past us. Both are met by asking for the
index of events first: it tells which events are published and when each was last edited.
An event that has gone is removed, an event with another edit time is read again as a
whole, and so is what was published within the overlap before the last reading, because
MISP counts time in seconds. All times are those of the MISP's own clock. Several
pages count only if it can be seen that none of their events has changed meanwhile;
one page is one query of MISP's database.

What changes without an edit is seen by a look at all names every `recheck_minutes`
(`misp_recheck`), which also sees warninglists, decay and local tags; the full readings every
`full_refresh_hours` see all else.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import msgspec

from inkgate.config.errors import Unreadable
from inkgate.config.whole_file import naming
from inkgate.remote.deadline import Deadline
from inkgate.rules.sources.attribute import Attribute
from inkgate.rules.sources.losses import check_loss
from inkgate.rules.sources.mirror import Mirror
from inkgate.rules.sources.misp_api import EventState, MispApi, MispWebSettings
from inkgate.rules.sources.misp_recheck import events_that_differ
from inkgate.rules.sources.source import Origin, SourceContext, SourceType

_EVENTS_AT_ONCE: Final = 100
_TRIES: Final = 4
_PAUSE: Final = 1.0


class MispWeb:
    """A MISP instance, mirrored so that a refresh asks for what has changed only.

    Args:
        settings: which instance, and what of it.
        context: what it is opened with.
    """

    origin: Origin = "web"

    def __init__(self, settings: MispWebSettings, context: SourceContext) -> None:
        self._settings = settings
        self._context = context
        self._path = context.state_path(settings.url, ".db")

    def read(self, faults: list[Unreadable]) -> Iterator[Attribute]:
        """See `Source`."""
        with naming(self._path):
            mirror = Mirror(self._path, _fingerprint(self._settings))
            try:
                try:
                    with Deadline(self._context.seconds) as deadline:
                        api = MispApi(self._settings, self._context.folder, deadline)
                        self._update(mirror, api)
                except Unreadable as fault:
                    mirror.undo()
                    faults.append(fault)
                yield from mirror.attributes()
            finally:
                mirror.close()

    def remembered(self, _: list[Unreadable]) -> Iterator[Attribute]:
        """See `Source`."""
        with naming(self._path):
            mirror = Mirror(self._path, _fingerprint(self._settings))
            try:
                yield from mirror.attributes()
            finally:
                mirror.close()

    def _update(self, mirror: Mirror, api: MispApi) -> None:
        events = api.index()
        now = api.now()
        had = mirror.event_count()
        check_loss(api.place, had, len(events), may_be_empty=self._context.may_be_empty)
        mirror.keep_events(events)
        full_at = self._unsettle(mirror, api, now)
        # Lasting at once: a full reading that breaks off goes on where it was.
        mirror.note(synced_at=mirror.synced_at, full_at=full_at)
        mirror.commit()
        settled = mirror.versions()
        changed = [e for e in events.values() if settled.get(e.uuid) != e.version]
        for start in range(0, len(changed), _EVENTS_AT_ONCE):
            _read_events(mirror, api, changed[start : start + _EVENTS_AT_ONCE])
        mirror.note(synced_at=now, full_at=full_at)
        mirror.commit()
        if not 0 <= now - mirror.rechecked_at < self._settings.recheck_minutes * 60:
            self._recheck(mirror, api, events, now)

    def _recheck(
        self, mirror: Mirror, api: MispApi, events: Mapping[str, EventState], now: int
    ) -> None:
        """Read again what differs from the mirror though no version says so."""
        differing = events_that_differ(mirror, api, events)
        mirror.unsettle(differing)
        mirror.note_recheck(now)
        mirror.commit()
        for start in range(0, len(differing), _EVENTS_AT_ONCE):
            some = differing[start : start + _EVENTS_AT_ONCE]
            _read_events(mirror, api, [events[uuid] for uuid in some])

    def _unsettle(self, mirror: Mirror, api: MispApi, now: int) -> int:
        """Mark what must be read whatever its version; the moment of the last full reading."""
        age = now - mirror.full_at
        if self._context.full or not 0 <= age < self._settings.full_refresh_hours * 3600:
            mirror.unsettle()
            return now
        since = mirror.synced_at - self._settings.overlap_minutes * 60
        mirror.unsettle(api.events_since(since))
        return mirror.full_at


def _read_events(mirror: Mirror, api: MispApi, events: Sequence[EventState]) -> None:
    if _read_once(mirror, api, events):
        return
    # One by one, so that an event that is being edited disturbs itself only.
    for event in events:
        for _ in range(_TRIES):
            if _read_once(mirror, api, [event]):
                break
            time.sleep(_PAUSE)
        else:
            mirror.unsettle([event.uuid])
            mirror.commit()


def _read_once(mirror: Mirror, api: MispApi, events: Sequence[EventState]) -> bool:
    """Read events anew.

    Returns:
        Whether nothing moved meanwhile, and each attribute tells its event. If not, nothing
        is changed.
    """
    ids = [event.id for event in events]
    now = api.now()
    before = api.states(ids)
    mirror.remove_events(event.uuid for event in events)
    pages = 0
    for pages, page in enumerate(api.attributes(ids), 1):  # noqa: B007 (the last one counts)
        at_home = list(_at_home(page, events))
        if len(at_home) < len(page):
            mirror.undo()
            return False
        mirror.put(at_home)
    if pages > 1 and (any(e.is_recent(now) for e in before) or api.states(ids) != before):
        mirror.undo()
        return False
    mirror.settle({event.uuid: event.version for event in before})
    mirror.commit()
    return True


def _at_home(page: Sequence[Attribute], events: Sequence[EventState]) -> Iterator[Attribute]:
    """Attributes with the event that they were asked for with.

    One that tells none, since it is odd, would be forgotten by the next reading. One that
    tells no id either is left out, unless only one event was asked for.
    """
    uuids = {event.uuid for event in events}
    by_id = {str(event.id): event.uuid for event in events}
    for attribute in page:
        only = events[0].uuid if len(events) == 1 else ""
        home = attribute.event_uuid if attribute.event_uuid in uuids else ""
        if home := home or by_id.get(attribute.event_id, only):
            yield msgspec.structs.replace(attribute, event_uuid=home)


def _fingerprint(settings: MispWebSettings) -> str:
    """What decides on a mirror's content: with other settings it begins anew."""
    return msgspec.json.encode(
        [
            2,
            settings.url,
            settings.published,
            settings.enforce_warninglist,
            settings.exclude_decayed,
            settings.types,
            settings.tags,
            settings.orgs,
        ]
    ).decode()


SOURCE: Final = SourceType(MispWebSettings, MispWeb)
