"""Reports sightings to MISP, with PyMISP.

`bulkSaveSightings` takes sightings with UUIDs and skips those that MISP has already. So
sightings that were sent and not answered are simply sent again. The call also skips,
without an error, sightings of attributes that MISP does not know or does not show to this
key; when fewer are added than were sent, a search by the attributes' UUIDs finds which.
What MISP took and does not show (it may not load sightings at all) counts as told. If MISP
does not have this call, or the key may not use it, `add_sighting` is used instead. If its
outcome is not known, a search looks for the sighting before it is sent again.

If MISP fails at some sightings while it accepts others, these are sent later and in
smaller parts, at last one by one. A sighting that MISP never accepts is marked as refused,
so that no other sighting waits for it. A request that is too large, or too slow, is parted.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from inkgate.misp import sightings as api
from inkgate.misp.connector import Connector
from inkgate.misp.diagnosis import message_of
from inkgate.misp.errors import (
    CertificateError,
    MispError,
    NotAllowedError,
    RedirectedError,
    RejectedError,
    UnavailableError,
)
from inkgate.sightings.report.outbox import SIGHTING, Item, ReportState
from inkgate.sightings.report.request_size import RequestSize
from inkgate.sightings.settings import MispSettings

# With each failure a part is sent as four smaller ones: after so many, even a batch of
# 10,000 has become single sightings.
_MOST_FAILURES: Final = 7
_FAILURES_IN_A_ROW: Final = 3
_HOUR: Final = 3600
# Of an event that MISP does not know, but also while it is in maintenance.
_NOT_ALLOWED_HERE: Final = 405
# Of a server in front of MISP.
_TOO_LARGE: Final = 413
_PAUSE: Final = (408, 429, 503)
# The status for a key that MISP does not know. If it was accepted before, this may pass.
_UNKNOWN_KEY: Final = 401
_NO_CALL: Final = (403, 404)
_UNKNOWN: Final = "MISP does not know the attribute, or does not show it to this key"
_NOT_SAVED: Final = "MISP answers that it has saved nothing, and does not show it"
_AS_IN_MAINTENANCE: Final = ", as in maintenance"

Outcome = tuple[Sequence[Item], ReportState, str]


class RetryLater(Exception):  # noqa: N818 (it says what to do)
    """MISP did not answer this time; the next time it may. The text contains no secret."""


class RetryAllLater(RetryLater):
    """MISP asks for a pause, is in maintenance, or does not know the key for the moment: no
    request will succeed."""


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
        told: some of the sightings that this MISP has taken, the last ones first.

    Raises:
        Unreadable: there is no key.
    """

    def __init__(
        self,
        settings: MispSettings,
        folder: Path,
        window_hours: int,
        before: Callable[[Sequence[Item]], None],
        told: Callable[[], Sequence[Item]] = tuple,
    ) -> None:
        self._window = window_hours * _HOUR
        self._before = before
        self._told = told
        self._batch = settings.batch
        self._size = RequestSize(settings.batch)
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
                self._size.worked(len(part))
            except RetryAllLater:
                raise
            except RetryLater as error:
                if not part[0].failures:
                    self._size.failed(len(part))
                failed.append((list(left.values()), error))
                if not has_taken and len(failed) >= _FAILURES_IN_A_ROW:
                    break
        if failed and not has_taken:
            raise failed[-1][1]
        for others, again in failed:
            yield from self._failed(others, str(again), f"{again} to this one, and takes others")

    def _parts(self, items: Sequence[Item]) -> Iterator[list[Item]]:
        """Items of one event, the fewer the more often they, or requests at all, failed.

        What was tried least comes first: MISP may fail at the first ones for ever.
        """
        ordered = sorted(items, key=_failures_and_event)
        groups = [
            sorted(group, key=_tries)
            for _, group in itertools.groupby(ordered, key=_failures_and_event)
        ]
        for group in sorted(groups, key=lambda group: group[0].tries):
            size = max(1, self._batch >> 2 * group[0].failures)
            rest = iter(group)
            while part := list(itertools.islice(rest, min(size, self._size.now))):
                yield part

    def _outcomes(self, part: Sequence[Item]) -> Iterator[Outcome]:
        event = part[0].event
        return self._save(event, part) if event else self._find_events(part)

    def _failed(self, part: Sequence[Item], reason: str, at_last: str) -> Iterator[Outcome]:
        worn = [item for item in part if item.failures + 1 >= _MOST_FAILURES]
        yield worn, ReportState.REFUSED, at_last
        others = [item for item in part if item.failures + 1 < _MOST_FAILURES]
        yield others, ReportState.WAITING, reason

    def _save(
        self, event: str, items: Sequence[Item], *, is_sure: bool = False
    ) -> Iterator[Outcome]:
        if not self._has_bulk:
            yield from self._add_each(items)
            return
        answer = self._call(api.save(event, [_sighting(item) for item in items]))
        if not isinstance(answer, RejectedError):
            self._bulk_worked = True
            yield from self._after_saving(event, items, api.saved(answer), is_sure=is_sure)
        elif answer.status in _NO_CALL:
            self._has_bulk = self._bulk_worked
            # An earlier bulk call may have added them although its answer did not arrive.
            yield from self._add_each(items, look=True)
        elif answer.status == _NOT_ALLOWED_HERE:
            if is_sure:
                # MISP shows the attribute in this event.
                raise RetryLater(f"MISP {answer.problem} for an event that it has")
            yield from self._find_events(items)
        elif len(items) > 1:
            yield from self._save_halves(event, items, answer.status, is_sure=is_sure)
        elif answer.status == _TOO_LARGE:
            raise RetryLater(f"MISP {answer.problem}")
        else:
            yield items, ReportState.REFUSED, _reason(answer.status, answer.message)

    def _save_halves(
        self, event: str, items: Sequence[Item], status: int = 0, *, is_sure: bool
    ) -> Iterator[Outcome]:
        if status == _TOO_LARGE:
            self._size.too_large(len(items))
        middle = len(items) // 2
        for half in filter(None, (items[:middle], items[middle:])):
            yield from self._save(event, half, is_sure=is_sure)

    def _after_saving(
        self, event: str, items: Sequence[Item], saved: api.Saved, *, is_sure: bool
    ) -> Iterator[Outcome]:
        if saved.added == len(items):
            yield items, ReportState.REPORTED, ""
            return
        # The others were there already, or belong to attributes that MISP does not show.
        stored = self._stored(items)
        yield [item for item in items if item.uuid in stored], ReportState.REPORTED, ""
        missing = [item for item in items if item.uuid not in stored]
        if not missing:
            return
        shown = self._attributes(missing)
        yield (
            [item for item in missing if _attribute(item) not in shown],
            ReportState.REFUSED,
            _UNKNOWN,
        )
        unseen = [item for item in missing if _attribute(item) in shown]
        if saved.is_done is None:
            raise RetryLater("MISP does not say what it has saved")
        if saved.is_done:
            yield unseen, ReportState.REPORTED, ""
        elif len(items) > 1:
            # One that MISP finds invalid keeps all of a request from being saved.
            yield from self._save_halves(event, unseen, is_sure=is_sure)
        else:
            yield from self._not_saved(unseen)

    def _not_saved(self, items: Sequence[Item]) -> Iterator[Outcome]:
        """What becomes of one that MISP does not save, and does not show either."""
        # An earlier request whose answer was lost may have added it.
        was_lost = [i for i in items if i.tries and i.reason != _NOT_SAVED]
        if was_lost and self._shows_nothing():
            yield was_lost, ReportState.REPORTED, ""
        else:
            yield from self._failed(items, _NOT_SAVED, _NOT_SAVED)

    def _shows_nothing(self) -> bool:
        """Whether MISP shows nothing of what it has taken, although it has the attributes."""
        told = self._told()
        shown = self._attributes(told) if told else {}
        known = [item for item in told if _attribute(item) in shown]
        return bool(known) and not any(True for _ in self._sightings_of(known))

    def _stored(self, items: Sequence[Item]) -> set[str]:
        """Which of the sightings MISP shows."""
        return {str(found.get("uuid", "")).lower() for found in self._sightings_of(items)}

    def _sightings_of(self, items: Sequence[Item]) -> Iterator[dict[str, Any]]:
        """The sightings of attributes in the time in which some may have been stored.

        Another reporter may have told the same sighting with another time of its window,
        and the same false positive at any time.
        """
        for kind, group in itertools.groupby(sorted(items, key=_kind), key=_kind):
            same = list(group)
            starts = [int(item.first // self._window) * self._window for item in same]
            since = min(starts) if kind == SIGHTING else 1
            named = sorted({_attribute(item) for item in same})
            question = api.by_uuid(named, kind, since, max(starts) + self._window)
            yield from self._rows(question, "Sighting")

    def _find_events(self, items: Sequence[Item]) -> Iterator[Outcome]:
        """Save what has no event id, or one of another MISP."""
        shown = self._attributes(items)
        events = {name: str(found.get("event_id", "")) for name, found in shown.items()}
        yield (
            [item for item in items if _attribute(item) not in events],
            ReportState.REFUSED,
            _UNKNOWN,
        )
        known = sorted(
            (item for item in items if _attribute(item) in events),
            key=lambda item: events[_attribute(item)],
        )
        for event, group in itertools.groupby(known, key=lambda item: events[_attribute(item)]):
            yield from self._save(event, list(group), is_sure=True)

    def _attributes(self, items: Sequence[Item]) -> dict[str, dict[str, Any]]:
        """Those attributes that MISP shows, by UUID."""
        question = api.attributes_by_uuid(sorted({_attribute(item) for item in items}))
        return {str(a.get("uuid", "")).lower(): a for a in self._rows(question, "Attribute")}

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
            return self._not_added(item, answer)
        if isinstance(answer, dict) and "Sighting" in answer:
            return [item], ReportState.REPORTED, ""
        return [item], ReportState.REFUSED, _reason(200, message_of(answer))

    def _not_added(self, item: Item, answer: RejectedError) -> Outcome:
        if answer.status == _NOT_ALLOWED_HERE:
            raise RetryAllLater(f"MISP {answer.problem}{_AS_IN_MAINTENANCE}")
        if answer.status == _TOO_LARGE:
            raise RetryLater(f"MISP {answer.problem}")
        return [item], ReportState.REFUSED, _reason(answer.status, answer.message)

    def _is_there(self, item: Item) -> bool:
        shown = self._attributes([item]).get(_attribute(item), {})
        if not (number := str(shown.get("id", ""))).isdigit():
            return False
        moment = int(item.first)
        found = self._rows(api.by_number(int(number), item.kind, moment, moment), "Sighting")
        wanted = (str(moment), str(item.kind), item.node.strip())
        return any(
            tuple(str(s.get(k)) for k in ("date_sighting", "type", "source")) == wanted
            for s in found
        )

    def _rows(self, question: api.Question, name: str) -> list[dict[str, Any]]:
        found = api.rows(self._checked(question), name)
        if found is None:
            raise RetryLater("MISP gives an answer that is no list")
        return found

    def _checked(self, question: api.Question) -> Any:
        """A question, whose refusal is none of a sighting's."""
        answer = self._call(question)
        if isinstance(answer, NotAllowedError):
            raise NeedsOperator("MISP does not let the owner of this key search")
        if isinstance(answer, RejectedError) and answer.status == _NOT_ALLOWED_HERE:
            raise RetryAllLater(f"MISP {answer.problem}{_AS_IN_MAINTENANCE}")
        if isinstance(answer, RejectedError):
            raise RetryLater(f"MISP {answer.problem}")
        return answer

    def _call(self, question: api.Question) -> Any:
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
            if error.status == _TOO_LARGE:
                return RejectedError(error.place, error.problem, error.remedy, error.status, "")
            raise _own(error) from None


def _own(error: MispError) -> Exception:
    if isinstance(error, CertificateError):
        return NeedsOperator(f"MISP {error.problem}; {error.remedy}")
    if isinstance(error, UnavailableError):
        return (RetryAllLater if error.status in _PAUSE else RetryLater)(f"MISP {error.problem}")
    # In maintenance MISP redirects to its login page.
    kind = RetryAllLater if isinstance(error, RedirectedError) else RetryLater
    # A maintenance page or a proxy may answer instead of MISP.
    return kind(f"MISP {error.problem}; {error.remedy}")


def _failures_and_event(item: Item) -> tuple[int, str]:
    return item.failures, item.event


def _tries(item: Item) -> int:
    return item.tries


def _kind(item: Item) -> int:
    return item.kind


def _attribute(item: Item) -> str:
    # As MISP has it: its columns tell "A" from "a".
    return item.attribute.lower()


def _sighting(item: Item) -> dict[str, str]:
    return {
        "uuid": item.uuid,
        "attribute_uuid": _attribute(item),
        "date_sighting": str(int(item.first)),
        "type": str(item.kind),
        "source": item.node,
    }


def _reason(status: int, message: str) -> str:
    return f"status {status}: {message or 'no reason given'}"
