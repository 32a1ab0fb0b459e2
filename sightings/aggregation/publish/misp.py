"""Totals as sightings of the aggregator in MISP."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, time
from itertools import islice
from typing import Any, Final, TypeVar

from inkgate.sightings.aggregation.errors import AggregationError
from inkgate.sightings.aggregation.session import Session

T = TypeVar("T")

_BATCH: Final = 500
_TIMEOUT: Final = (20, 60)
_NAMESPACE: Final = uuid.UUID("6f8c2f5e-3c55-4c0b-9a7e-5d1f0b3d9a11")


class MispPublisher:
    """Adds sightings to one MISP.

    Args:
        url: of the MISP.
        key: of a user that may add sightings.
        verify: whom to trust: a file of authorities, or True for the system's.

    Raises:
        AggregationError: MISP cannot be reached, or refuses (`no-misp`).
    """

    def __init__(self, url: str, key: str, verify: bool | str) -> None:
        # Imported here: it takes a fifth of a second.
        from pymisp import PyMISP  # noqa: PLC0415
        from pymisp.exceptions import PyMISPError  # noqa: PLC0415

        self._errors = (PyMISPError, OSError, ValueError)
        logging.getLogger("pymisp").setLevel(logging.CRITICAL + 1)
        try:
            self._misp = PyMISP(f"{url.rstrip('/')}/", key, ssl=verify, timeout=_TIMEOUT)
        except self._errors:
            raise _failed("does not answer, or not to this key") from None

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
        # MISP takes a list here, whatever PyMISP's annotation says.
        wanted: Any = list(names)
        found = self._ask(lambda: self._misp.search(controller="attributes", uuid=wanted))
        if found == []:  # how some versions write that there are none
            return {}
        try:
            return {str(a["uuid"]): str(a["event_id"]) for a in found["Attribute"]}
        except (KeyError, TypeError):
            raise _failed("gave an answer that is not its own") from None

    def _save(self, event: str, rows: Iterator[dict[str, str]]) -> None:
        for batch in _batches(rows):
            body = {"Sighting": batch}
            path = f"sightings/bulkSaveSightings/{event}"
            answer = self._ask(lambda path=path, body=body: self._misp.direct_call(path, body))
            # A proxy's or a login page answers, too, and with status 200.
            if not isinstance(answer, dict) or not isinstance(answer.get("saved"), bool):
                raise _failed("gave an answer that is not its own")

    def _ask(self, request: Any) -> Any:
        try:
            answer = request()
        except self._errors:
            raise _failed("does not answer") from None
        if isinstance(answer, dict) and answer.get("errors"):
            raise _failed("refused")
        return answer


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
    return AggregationError("no-misp", f"MISP {what}", "check misp_url and misp_key_file")
