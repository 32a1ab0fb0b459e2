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
import logging
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from inkgate.config.secret import read_secret
from inkgate.sightings.report.outbox import SIGHTING, Item, State
from inkgate.sightings.settings import MispSettings

if TYPE_CHECKING:
    from pymisp import PyMISP

_CONNECT_SECONDS: Final = 10
# After so many failures even a batch of 10,000 has been parted into single sightings.
_MOST_FAILURES: Final = 7
_FAILURES_IN_A_ROW: Final = 3
_HOUR: Final = 3600
_MAX_REASON: Final = 300
_SAVED: Final = re.compile(r"(?<!\d)(\d{1,9}) sightings? added")
_NO_EVENT: Final = 405
_NOT_NOW: Final = (401, 408, 429)
_NO_CALL: Final = (403, 404)
_UNKNOWN: Final = "MISP does not know the attribute, or does not show it to this key"

T = TypeVar("T")
Fate = tuple[Sequence[Item], State, str]


class Again(Exception):  # noqa: N818 (it says what to do)
    """MISP did not answer this time; it may the next. The text holds no secret."""


class Busy(Again):
    """MISP asks for a pause, or does not know the key for the moment: nothing will do."""


class NotAllowed(Exception):  # noqa: N818 (as MISP says it)
    """MISP does not accept the key, or does not let its owner add sightings."""


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
        self._folder = folder
        self._window = window_hours * _HOUR
        self._before = before
        key_file = folder / settings.key_file if settings.key_file else None
        self._key = read_secret(key_file, settings.key_variable, settings.url)
        self._misp: PyMISP | None = None
        self._has_bulk = True
        self._bulk_worked = False

    def send(self, items: Sequence[Item]) -> Iterator[Fate]:
        """Add sightings; yields what became of them as soon as it is known.

        Those that MISP fails at while it takes others come as WAITING, with the reason.

        Raises:
            Again: it takes none; all that was not yielded has to wait.
            NotAllowed: the key is no good for this.
        """
        failed: list[tuple[list[Item], Again]] = []
        has_taken = False
        for part in self._parts(items):
            left = {item.uuid: item for item in part}
            self._before(part)
            try:
                for settled, state, reason in self._fates(part):
                    has_taken |= bool(settled) and state is State.REPORTED
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
        yield worn, State.REFUSED, f"{reason} to this one, and takes others"
        others = [item for item in part if item.failures + 1 < _MOST_FAILURES]
        yield others, State.WAITING, reason

    def _save(self, event: str, items: Sequence[Item], *, is_sure: bool = False) -> Iterator[Fate]:
        if not self._has_bulk:
            yield from self._add_each(items)
            return
        body = {"Sighting": [_sighting(item) for item in items]}
        answer = self._call(
            lambda misp: misp.direct_call(f"sightings/bulkSaveSightings/{event}", body)
        )
        status = _status(answer)
        if status is None:
            self._bulk_worked = True
            yield from self._after_saving(event, items, answer)
        elif status in _NO_CALL:
            self._has_bulk = self._bulk_worked
            # An earlier bulk call may have added them, and its answer been lost.
            yield from self._add_each(items, look=True)
        elif status == _NO_EVENT and not is_sure:
            yield from self._find_events(items)
        elif len(items) == 1:
            yield items, State.REFUSED, _reason(status, answer)
        else:
            middle = len(items) // 2
            for half in (items[:middle], items[middle:]):
                yield from self._save(event, half, is_sure=is_sure)

    def _after_saving(self, event: str, items: Sequence[Item], answer: Any) -> Iterator[Fate]:
        if _saved(answer) == len(items):
            yield items, State.REPORTED, ""
            return
        # Some were there already, or are about attributes that MISP does not show.
        stored = self._stored(event, items)
        yield [item for item in items if item.uuid in stored], State.REPORTED, ""
        missing = [item for item in items if item.uuid not in stored]
        if not missing:
            return
        shown = self._events_of(missing)
        yield [item for item in missing if item.attribute not in shown], State.REFUSED, _UNKNOWN
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
        yield [item for item in items if item.attribute not in events], State.REFUSED, _UNKNOWN
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
                yield [item], State.REPORTED, ""
                continue
            yield self._add(item)

    def _add(self, item: Item) -> Fate:
        body = {"type": str(item.kind), "source": item.node, "timestamp": int(item.first)}
        answer = self._call(lambda misp: misp.add_sighting(body, item.attribute))
        status = _status(answer)
        if status == 403:
            raise NotAllowed("MISP does not let the owner of this key add sightings")
        if status is None and isinstance(answer, dict) and "Sighting" in answer:
            return [item], State.REPORTED, ""
        return [item], State.REFUSED, _reason(status, answer)

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

    def _checked(self, request: Callable[[PyMISP], Any]) -> Any:
        """A question, whose refusal is none of a sighting's."""
        answer = self._call(request)
        status = _status(answer)
        if status == 403:
            raise NotAllowed("MISP does not let the owner of this key search")
        if status is not None:
            raise Again(f"MISP answers with status {status}")
        return answer

    def _call(self, request: Callable[[PyMISP], T]) -> T:
        """One request. Whatever may be different the next time is `Again`."""
        from pymisp.exceptions import PyMISPError  # noqa: PLC0415
        from requests import RequestException  # noqa: PLC0415

        if self._misp is None:
            self._misp = self._connect()
        try:
            answer = request(self._misp)
        except (PyMISPError, RequestException, ValueError, RecursionError) as error:
            # The texts of these may quote addresses with keys, or indicators.
            raise Again(f"MISP does not answer ({type(error).__name__})") from None
        status = _status(answer)
        if status in _NOT_NOW:
            raise Busy(f"MISP answers with status {status}")
        if status is not None and not 400 <= status < 500:
            raise Again(f"MISP answers with status {status}")
        if isinstance(answer, str):
            raise Again("MISP answers with something else than JSON")
        return answer

    def _connect(self) -> PyMISP:
        # Imported here: it takes a fifth of a second, and `list` does not need it.
        from pymisp import PyMISP  # noqa: PLC0415
        from pymisp.exceptions import PyMISPError  # noqa: PLC0415

        logging.getLogger("pymisp").setLevel(logging.CRITICAL + 1)
        settings = self._settings
        verify: bool | str = settings.verify_tls
        if settings.ca_file and settings.verify_tls:
            verify = str(self._folder / settings.ca_file)
        timeout = (min(_CONNECT_SECONDS, settings.timeout), settings.timeout)
        try:
            return PyMISP(settings.url, self._key, ssl=verify, tool="inkgate", timeout=timeout)
        except PyMISPError as error:
            if "403" in str(error) or "401" in str(error):
                raise NotAllowed("MISP does not accept the key") from None
            raise Again("MISP cannot be reached") from None
        except Exception as error:  # noqa: BLE001 (PyMISP lets many kinds through)
            raise Again(f"MISP cannot be reached ({type(error).__name__})") from None


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


def _status(answer: Any) -> int | None:
    """The HTTP status of a refusal, as PyMISP gives it; 0 if it gives none."""
    errors = answer.get("errors") if isinstance(answer, dict) else None
    if not errors:
        return None
    code = errors[0] if isinstance(errors, (tuple, list)) else 0
    return code if isinstance(code, int) else 0


def _reason(status: int | None, answer: Any) -> str:
    """MISP's own words, short and printable."""
    said = answer if isinstance(answer, dict) else {}
    errors = said.get("errors")
    detail = errors[1] if isinstance(errors, (tuple, list)) and len(errors) > 1 else said
    text = str(detail.get("message", "")) if isinstance(detail, dict) else ""
    text = "".join(c if c.isprintable() else " " for c in text)[:_MAX_REASON]
    return f"status {status or 200}: {text or 'no reason given'}"


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
