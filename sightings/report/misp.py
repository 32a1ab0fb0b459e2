"""Telling MISP about sightings, with PyMISP.

`bulkSaveSightings` takes sightings with UUIDs and leaves out those that it has, so what
was sent and not answered is simply sent again. It also leaves out, without a word, what
is about attributes that it does not know or does not show; when its count is short we
ask which those are. A MISP without that call, or a key that may not use it, gets
`add_sighting`, and after an unknown outcome we look before we send again.

What MISP fails at while it takes other sightings is sent later and in smaller parts, in
the end one by one; what it never takes is refused, so that nothing else waits for it.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from inkgate.misp.connector import Connector
from inkgate.misp.diagnosis import message_of
from inkgate.misp.errors import (
    CertificateError,
    MispError,
    NotAllowedError,
    RejectedError,
    UnavailableError,
)
from inkgate.sightings.report.outbox import SIGHTING, Item, ReportState
from inkgate.sightings.settings import MispSettings

if TYPE_CHECKING:
    from pymisp import PyMISP

# After so many failures even a batch of 10,000 has been parted into single sightings.
_MOST_FAILURES: Final = 7
_FAILURES_IN_A_ROW: Final = 3
_HOUR: Final = 3600
_SAVED: Final = re.compile(r"(?<!\d)(\d{1,9}) sightings? added")
_NO_EVENT: Final = 405
_PAUSE: Final = (408, 429)
# Of a key that was accepted a moment ago.
_UNKNOWN_KEY: Final = 401
_NO_CALL: Final = (403, 404)
_UNKNOWN: Final = "MISP does not know the attribute, or does not show it to this key"

Question = Callable[["PyMISP"], Any]
Fate = tuple[Sequence[Item], ReportState, str]


class Again(Exception):  # noqa: N818 (it says what to do)
    """MISP did not answer this time; it may the next. The text holds no secret."""


class Busy(Again):
    """MISP asks for a pause, or does not know the key for the moment: nothing will do."""


class NeedsOperator(Exception):  # noqa: N818 (it says who has to act)
    """Waiting does not help: MISP does not accept the key, does not let its owner add
    sightings, or has a certificate that is not trusted. The text holds no secret."""


class MispSightings:
    """Adds sightings to one MISP. Connects at the first request.

    Args:
        settings: which MISP.
        folder: where relative paths of the settings begin.
        window_hours: the time of one sighting per attribute and node.
        before: called with items right before a request that may add them.

    Raises:
        Unreadable: there is no key.
    """

    def __init__(
        self,
        settings: MispSettings,
        folder: Path,
        window_hours: int,
        before: Callable[[Sequence[Item]], None],
    ) -> None:
        self._settings = settings
        self._window = window_hours * _HOUR
        self._before = before
        self._misp = Connector.configured(settings, folder)
        self._has_bulk = True
        self._bulk_worked = False

    def send(self, items: Sequence[Item]) -> Iterator[Fate]:
        """Add sightings; yields what became of them as soon as it is known.

        Those that MISP fails at while it takes others come as WAITING, with the reason.

        Raises:
            Again: it takes none; all that was not yielded has to wait.
            NeedsOperator: the key is no good for this, or the certificate is not trusted.
        """
        failed: list[tuple[list[Item], Again]] = []
        has_taken = False
        for part in self._parts(items):
            left = {item.uuid: item for item in part}
            self._before(part)
            try:
                for settled, state, reason in self._fates(part):
                    has_taken |= bool(settled) and state is ReportState.REPORTED
                    for item in settled:
                        left.pop(item.uuid, None)
                    yield settled, state, reason
            except Busy:
                raise
            except Again as error:
                failed.append((list(left.values()), error))
                if not has_taken and len(failed) >= _FAILURES_IN_A_ROW:
                    break
        if failed and not has_taken:
            raise failed[-1][1]
        for others, again in failed:
            yield from self._failed(others, str(again))

    def _parts(self, items: Sequence[Item]) -> Iterator[list[Item]]:
        """Items of one event, the fewer the more often they failed."""
        ordered = sorted(items, key=_failures_and_event)
        for (failures, _), group in itertools.groupby(ordered, key=_failures_and_event):
            size = max(1, self._settings.batch >> 2 * failures)
            while part := list(itertools.islice(group, size)):
                yield part

    def _fates(self, part: Sequence[Item]) -> Iterator[Fate]:
        event = part[0].event
        return self._save(event, part) if event else self._find_events(part)

    def _failed(self, part: Sequence[Item], reason: str) -> Iterator[Fate]:
        worn = [item for item in part if item.failures + 1 >= _MOST_FAILURES]
        yield worn, ReportState.REFUSED, f"{reason} to this one, and takes others"
        others = [item for item in part if item.failures + 1 < _MOST_FAILURES]
        yield others, ReportState.WAITING, reason

    def _save(self, event: str, items: Sequence[Item], *, is_sure: bool = False) -> Iterator[Fate]:
        if not self._has_bulk:
            yield from self._add_each(items)
            return
        body = {"Sighting": [_sighting(item) for item in items]}
        answer = self._call(
            lambda misp: misp.direct_call(f"sightings/bulkSaveSightings/{event}", body)
        )
        if not isinstance(answer, RejectedError):
            self._bulk_worked = True
            yield from self._after_saving(event, items, answer)
        elif answer.status in _NO_CALL:
            self._has_bulk = self._bulk_worked
            # An earlier bulk call may have added them, and its answer been lost.
            yield from self._add_each(items, look=True)
        elif answer.status == _NO_EVENT and not is_sure:
            yield from self._find_events(items)
        elif len(items) == 1:
            yield items, ReportState.REFUSED, _reason(answer.status, answer.message)
        else:
            middle = len(items) // 2
            for half in (items[:middle], items[middle:]):
                yield from self._save(event, half, is_sure=is_sure)

    def _after_saving(self, event: str, items: Sequence[Item], answer: Any) -> Iterator[Fate]:
        if _saved(answer) == len(items):
            yield items, ReportState.REPORTED, ""
            return
        # Some were there already, or are about attributes that MISP does not show.
        stored = self._stored(event, items)
        yield [item for item in items if item.uuid in stored], ReportState.REPORTED, ""
        missing = [item for item in items if item.uuid not in stored]
        if not missing:
            return
        shown = self._events_of(missing)
        yield (
            [item for item in missing if item.attribute not in shown],
            ReportState.REFUSED,
            _UNKNOWN,
        )
        unclear = [item for item in missing if item.attribute in shown]
        yield from self._failed(unclear, "MISP does not show what it was sent")

    def _stored(self, event: str, items: Sequence[Item]) -> set[str]:
        """UUIDs of the event's sightings in the time in which some may have been stored.

        Another reporter may have told the same sighting with another time of its window,
        and the same false positive at any time.
        """
        stored: set[str] = set()
        for kind, same in itertools.groupby(sorted(items, key=_kind), key=_kind):
            starts = [int(item.first // self._window) * self._window for item in same]
            since = min(starts) if kind == SIGHTING else 1
            found = self._sightings_of(event, kind, since, max(starts) + self._window)
            stored.update(str(_inner(s, "Sighting").get("uuid", "")) for s in found)
        return stored

    def _sightings_of(self, event: str, kind: int, since: int, until: int) -> list[dict[str, Any]]:
        found = self._checked(
            lambda misp: misp.search_sightings(
                context="event",
                context_id=event,
                type_sighting=str(kind),
                date_from=since,
                date_to=until,
            )
        )
        return _list(found)

    def _find_events(self, items: Sequence[Item]) -> Iterator[Fate]:
        """Save what has no event id, or one of another MISP."""
        events = self._events_of(items)
        yield (
            [item for item in items if item.attribute not in events],
            ReportState.REFUSED,
            _UNKNOWN,
        )
        shown = sorted(
            (item for item in items if item.attribute in events),
            key=lambda item: events[item.attribute],
        )
        for event, group in itertools.groupby(shown, key=lambda item: events[item.attribute]):
            yield from self._save(event, list(group), is_sure=True)

    def _events_of(self, items: Sequence[Item]) -> dict[str, str]:
        """The event ids of those attributes that MISP shows."""
        uuids: Any = sorted({item.attribute for item in items})
        found = self._checked(
            lambda misp: misp.search(controller="attributes", uuid=uuids, deleted=[0, 1])
        )
        if isinstance(found, dict):
            found = found.get("Attribute", [])
        return {str(a.get("uuid", "")): str(a.get("event_id", "")) for a in _list(found)}

    def _add_each(self, items: Sequence[Item], *, look: bool = False) -> Iterator[Fate]:
        for item in items:
            if (look or item.tries) and self._is_there(item):
                yield [item], ReportState.REPORTED, ""
                continue
            yield self._add(item)

    def _add(self, item: Item) -> Fate:
        body = {"type": str(item.kind), "source": item.node, "timestamp": int(item.first)}
        answer = self._call(lambda misp: misp.add_sighting(body, item.attribute))
        if isinstance(answer, NotAllowedError):
            raise NeedsOperator("MISP does not let the owner of this key add sightings")
        if isinstance(answer, RejectedError):
            return [item], ReportState.REFUSED, _reason(answer.status, answer.message)
        if isinstance(answer, dict) and "Sighting" in answer:
            return [item], ReportState.REPORTED, ""
        return [item], ReportState.REFUSED, _reason(200, message_of(answer))

    def _is_there(self, item: Item) -> bool:
        found = self._checked(
            lambda misp: misp.search_sightings(
                context="attribute", context_id=item.attribute, source=item.node
            )
        )
        wanted = (str(int(item.first)), str(item.kind), item.node)
        return any(
            tuple(str(_inner(s, "Sighting").get(k)) for k in ("date_sighting", "type", "source"))
            == wanted
            for s in _list(found)
        )

    def _checked(self, question: Question) -> Any:
        """A question, whose refusal is none of a sighting's."""
        answer = self._call(question)
        if isinstance(answer, NotAllowedError):
            raise NeedsOperator("MISP does not let the owner of this key search")
        if isinstance(answer, RejectedError):
            raise Again(f"MISP {answer.problem}")
        return answer

    def _call(self, question: Question) -> Any:
        """One request: MISP's answer, or how it rejects it. What may be different the
        next time is `Again`."""
        try:
            self._misp.connect()
        except NotAllowedError as error:
            raise NeedsOperator(f"MISP {error.problem}; {error.remedy}") from None
        except MispError as error:
            raise _own(error) from None
        try:
            return self._misp.request(question)
        except RejectedError as error:
            if error.status == _UNKNOWN_KEY:
                raise Busy(f"MISP answers with status {error.status}") from None
            return error
        except MispError as error:
            raise _own(error) from None


def _own(error: MispError) -> Exception:
    if isinstance(error, CertificateError):
        return NeedsOperator(f"MISP {error.problem}; {error.remedy}")
    if isinstance(error, UnavailableError):
        return (Busy if error.status in _PAUSE else Again)(f"MISP {error.problem}")
    # A page of maintenance, or of a proxy's, redirects or answers in MISP's place, too.
    return Again(f"MISP {error.problem}; {error.remedy}")


def _failures_and_event(item: Item) -> tuple[int, str]:
    return item.failures, item.event


def _kind(item: Item) -> int:
    return item.kind


def _sighting(item: Item) -> dict[str, str]:
    return {
        "uuid": item.uuid,
        "attribute_uuid": item.attribute,
        "date_sighting": str(int(item.first)),
        "type": str(item.kind),
        "source": item.node,
    }


def _reason(status: int, message: str) -> str:
    return f"status {status}: {message or 'no reason given'}"


def _saved(answer: Any) -> int:
    """How many sightings MISP says it has added; -1 if it does not say."""
    text = str(answer.get("success", "")) if isinstance(answer, dict) else ""
    found = _SAVED.search(text)
    return int(found[1]) if found else -1


def _list(found: Any) -> list[dict[str, Any]]:
    if not isinstance(found, list):
        raise Again("MISP gives an answer that is no list")
    return [item for item in found if isinstance(item, dict)]


def _inner(item: dict[str, Any], name: str) -> dict[str, Any]:
    inner = item.get(name)
    return inner if isinstance(inner, dict) else item
