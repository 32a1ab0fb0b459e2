"""Totals as sightings of the aggregator in MISP."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, time
from itertools import islice
from typing import Any, Final, TypeVar

from inkgate.misp import sightings as api
from inkgate.misp.connector import Connector
from inkgate.misp.errors import MispError
from inkgate.sightings.aggregation.errors import AggregationError
from inkgate.sightings.aggregation.session import Session

T = TypeVar("T")

_BATCH: Final = 500
_NOT_ITS_OWN: Final = "gave an answer that is not its own"
_TOO_LARGE: Final = 413
_REMEDY: Final = "check misp_url, misp_key_file and misp_ca_file"
_NAMESPACE: Final = uuid.UUID("6f8c2f5e-3c55-4c0b-9a7e-5d1f0b3d9a11")


class MispPublisher:
    """Adds sightings to one MISP.

    Args:
        misp: where to, with the key of a user that may add sightings.

    Raises:
        AggregationError: MISP cannot be reached, or refuses (`no-misp`).
    """

    def __init__(self, misp: Connector) -> None:
        self._misp = misp

    def publish(self, session: Session, totals: Mapping[str, int], most: int) -> int:
        """Add sightings for totals; what is there already is not added again.

        Args:
            session: whose totals these are.
            totals: by attribute UUID.
            most: sightings that stand for one total.

        Returns:
            How many totals belong to attributes that this MISP has.
        """
        published = 0
        for names in _batches(sorted(totals)):
            events = self._events(names)
            published += len(events)
            for event in sorted(set(events.values())):
                found = (name for name in names if events.get(name) == event)
                self._save(
                    event, (s for n in found for s in sightings(session, n, totals[n], most))
                )
        return published

    def _events(self, names: Sequence[str]) -> dict[str, str]:
        """The event of each attribute."""
        found = self._rows(api.attributes_by_uuid(names), "Attribute")
        return {str(a.get("uuid", "")).lower(): str(a.get("event_id", "")) for a in found}

    def _save(self, event: str, rows: Iterator[dict[str, str]]) -> None:
        for batch in _batches(rows):
            self._save_batch(event, batch)

    def _save_batch(self, event: str, batch: list[dict[str, str]]) -> None:
        try:
            saved = api.saved(self._misp.request(api.save(event, batch)))
        except MispError as error:
            if error.status != _TOO_LARGE or len(batch) == 1:
                raise _failed(error.problem) from None
            middle = len(batch) // 2
            self._save_batch(event, batch[:middle])
            self._save_batch(event, batch[middle:])
            return
        # A proxy may also answer with status 200.
        if saved.is_done is None:
            raise _failed(_NOT_ITS_OWN)
        if not saved.is_done:
            self._check_shown(batch)

    def _check_shown(self, batch: list[dict[str, str]]) -> None:
        """Whether MISP has what it has added nothing of."""
        about = sorted({row["attribute_uuid"] for row in batch})
        # All are of the last second of their session.
        moment = int(batch[0]["date_sighting"])
        found = self._rows(api.by_uuid(about, 0, moment, moment), "Sighting")
        shown = {str(row.get("uuid", "")).lower() for row in found}
        if missing := sum(row["uuid"] not in shown for row in batch):
            raise _failed(f"has not saved {missing} sightings, and does not show them either")

    def _rows(self, question: api.Question, name: str) -> list[dict[str, Any]]:
        rows = api.rows(self._ask(question), name)
        if rows is None:
            raise _failed(_NOT_ITS_OWN)
        return rows

    def _ask(self, question: api.Question) -> Any:
        try:
            return self._misp.request(question)
        except MispError as error:
            raise _failed(error.problem) from None


def sightings(session: Session, name: str, total: int, most: int) -> Iterator[dict[str, str]]:
    """The sightings that stand for a total. Their UUIDs depend on nothing else, so publishing
    twice adds nothing."""
    source = f"inkgate {session.group.name} {session.period}: {total} in total"
    when = _last_second(session)
    for number in islice(range(total), most):
        yield {
            "attribute_uuid": name,
            "uuid": str(uuid.uuid5(_NAMESPACE, f"{session.id.hex()} {name} {number}")),
            "date_sighting": when,
            "type": "0",
            "source": source,
        }


def _batches(items: Iterable[T]) -> Iterator[list[T]]:
    rest = iter(items)
    while batch := list(islice(rest, _BATCH)):
        yield batch


def _last_second(session: Session) -> str:
    return str(int(datetime.combine(session.end, time(), UTC).timestamp()) - 1)


def _failed(what: str) -> AggregationError:
    return AggregationError("no-misp", f"MISP {what}", _REMEDY)
