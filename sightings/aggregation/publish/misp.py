"""Totals as sightings of the aggregator in MISP."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime, time
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, TypeVar

from inkgate.misp.connector import Connector
from inkgate.misp.errors import MispError
from inkgate.sightings.aggregation.errors import AggregationError
from inkgate.sightings.aggregation.session import Session

if TYPE_CHECKING:
    from pymisp import PyMISP

T = TypeVar("T")

_BATCH: Final = 500
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

    def _events(self, names: Iterable[str]) -> dict[str, str]:
        """The event of each attribute."""
        # MISP accepts a list here, although PyMISP's annotation does not.
        wanted: Any = list(names)
        found = self._ask(lambda misp: misp.search(controller="attributes", uuid=wanted))
        if found == []:  # some versions of MISP answer this if there are none
            return {}
        try:
            return {str(a["uuid"]): str(a["event_id"]) for a in found["Attribute"]}
        except (KeyError, TypeError):
            raise _failed("gave an answer that is not its own") from None

    def _save(self, event: str, rows: Iterator[dict[str, str]]) -> None:
        for batch in _batches(rows):
            self._save_batch(f"sightings/bulkSaveSightings/{event}", {"Sighting": batch})

    def _save_batch(self, path: str, body: dict[str, list[dict[str, str]]]) -> None:
        answer = self._ask(lambda misp: misp.direct_call(path, body))
        # A proxy may also answer with status 200.
        if not isinstance(answer, dict) or not isinstance(answer.get("saved"), bool):
            raise _failed("gave an answer that is not its own")

    def _ask(self, question: Callable[[PyMISP], Any]) -> Any:
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
