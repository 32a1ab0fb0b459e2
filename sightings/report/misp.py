"""Reports sightings to MISP, with PyMISP.

`bulkSaveSightings` takes sightings with UUIDs and skips those that MISP has already. So
sightings that were sent and not answered are simply sent again. The call also skips,
without an error, sightings of attributes that MISP does not know or does not show to this
key; when fewer are added than were sent, a search finds which. If MISP does not have this
call, or the key may not use it, `add_sighting` is used instead. If its outcome is not
known, a search looks for the sighting before it is sent again.

If MISP fails at some sightings while it accepts others, these are sent later and in
smaller parts, at last one by one. A sighting that MISP never accepts is marked as refused,
so that no other sighting waits for it.
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

# With each failure a part is sent as four smaller ones: after so many, even a batch of
# 10,000 has become single sightings.
_MOST_FAILURES: Final = 7
_FAILURES_IN_A_ROW: Final = 3
_HOUR: Final = 3600
_SAVED: Final = re.compile(r"(?<!\d)(\d{1,9}) sightings? added")
_NO_EVENT: Final = 405
_PAUSE: Final = (408, 429)
# The status for a key that MISP does not know. If it was accepted before, this may pass.
_UNKNOWN_KEY: Final = 401
_NO_CALL: Final = (403, 404)
_UNKNOWN: Final = "MISP does not know the attribute, or does not show it to this key"

Question = Callable[["PyMISP"], Any]
Outcome = tuple[Sequence[Item], ReportState, str]


class RetryLater(Exception):  # noqa: N818 (it says what to do)
    """MISP did not answer this time; the next time it may. The text contains no secret."""


class RetryAllLater(RetryLater):
    """MISP asks for a pause, or does not know the key for the moment: no request will succeed."""


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

    def send(self, items: Sequence[Item]) -> Iterator[Outcome]:
        """Add sightings; yields what became of them as soon as it is known.

        Those that MISP fails at while it takes others come as WAITING, with the reason.

        Raises:
            RetryLater: it takes none; all that was not yielded has to wait.
            NeedsOperator: the key is no good for this, or the certificate is not trusted.
        """
        failed: list[tuple[list[Item], RetryLater]] = []
        has_taken = False
        for part in self._parts(items):
            left = {item.uuid: item for item in part}
            self._before(part)
            try:
                for settled, state, reason in self._outcomes(part):
                    has_taken |= bool(settled) and state is ReportState.REPORTED
                    for item in settled:
                        left.pop(item.uuid, None)
                    yield settled, state, reason
            except RetryAllLater:
                raise
            except RetryLater as error:
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

    def _outcomes(self, part: Sequence[Item]) -> Iterator[Outcome]:
        event = part[0].event
        return self._save(event, part) if event else self._find_events(part)

    def _failed(self, part: Sequence[Item], reason: str) -> Iterator[Outcome]:
        worn = [item for item in part if item.failures + 1 >= _MOST_FAILURES]
        yield worn, ReportState.REFUSED, f"{reason} to this one, and takes others"
        others = [item for item in part if item.failures + 1 < _MOST_FAILURES]
        yield others, ReportState.WAITING, reason

    def _save(
        self, event: str, items: Sequence[Item], *, is_sure: bool = False
    ) -> Iterator[Outcome]:
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
            # An earlier bulk call may have added them although its answer did not arrive.
            yield from self._add_each(items, look=True)
        elif answer.status == _NO_EVENT and not is_sure:
            yield from self._find_events(items)
        elif len(items) == 1:
            yield items, ReportState.REFUSED, _reason(answer.status, answer.message)
        else:
            middle = len(items) // 2
            for half in (items[:middle], items[middle:]):
                yield from self._save(event, half, is_sure=is_sure)

    def _after_saving(self, event: str, items: Sequence[Item], answer: Any) -> Iterator[Outcome]:
        if _saved(answer) == len(items):
            yield items, ReportState.REPORTED, ""
            return
        # The others were there already, or belong to attributes that MISP does not show.
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

    def _find_events(self, items: Sequence[Item]) -> Iterator[Outcome]:
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

    def _add_each(self, items: Sequence[Item], *, look: bool = False) -> Iterator[Outcome]:
        for item in items:
            if (look or item.tries) and self._is_there(item):
                yield [item], ReportState.REPORTED, ""
                continue
            yield self._add(item)

    def _add(self, item: Item) -> Outcome:
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
            raise RetryLater(f"MISP {answer.problem}")
        return answer

    def _call(self, question: Question) -> Any:
        """One request: MISP's answer, or how it rejects it. What may be different the
        next time is `RetryLater`."""
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
                raise RetryAllLater(f"MISP answers with status {error.status}") from None
            return error
        except MispError as error:
            raise _own(error) from None


def _own(error: MispError) -> Exception:
    if isinstance(error, CertificateError):
        return NeedsOperator(f"MISP {error.problem}; {error.remedy}")
    if isinstance(error, UnavailableError):
        return (RetryAllLater if error.status in _PAUSE else RetryLater)(f"MISP {error.problem}")
    # A maintenance page or a proxy may redirect or answer instead of MISP.
    return RetryLater(f"MISP {error.problem}; {error.remedy}")


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
        raise RetryLater("MISP gives an answer that is no list")
    return [item for item in found if isinstance(item, dict)]


def _inner(item: dict[str, Any], name: str) -> dict[str, Any]:
    inner = item.get(name)
    return inner if isinstance(inner, dict) else item
