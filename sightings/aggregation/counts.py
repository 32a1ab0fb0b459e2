"""How often a proxy saw each attribute in a period, from its journal."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime, time

from inkgate.sightings.aggregation.session import Session
from inkgate.sightings.journal.journal import Journal


def counts_for_period(journal: Journal, session: Session) -> list[int]:
    """A count for each label of the session's list, at most the group's `max_count`.

    One incident counts once for an attribute, however many rules told of it. Requests of
    the check through the proxy do not count.

    Raises:
        JournalError: the journal cannot be read.
    """
    start, end = _midnight(session.first), _midnight(session.end)
    seen: set[tuple[str, str]] = set()
    for sighting in journal.read(since=start):
        if sighting.time < end and not sighting.is_canary:
            seen.update((sighting.incident, uuid) for uuid in sighting.attributes)
    counts = session.labels.vector(Counter(uuid for _, uuid in seen))
    return [min(count, session.group.max_count) for count in counts]


def _midnight(day: date) -> float:
    return datetime.combine(day, time(), UTC).timestamp()
