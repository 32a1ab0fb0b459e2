"""The few requests that we make of a MISP with PyMISP, each tried again with growing waits."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import msgspec
from pymisp import PyMISP
from pymisp.exceptions import PyMISPError
from requests import PreparedRequest, RequestException, Response
from requests.auth import AuthBase
from requests.exceptions import SSLError
from tenacity import (
    RetryCallState,
    RetryError,
    Retrying,
    retry_if_exception_type,
    wait_random_exponential,
)

from inkgate.config.errors import Unreadable
from inkgate.config.secret import read_secret
from inkgate.rules.sources.attribute import Attribute
from inkgate.rules.sources.readers.misp_event import Flag, Text, attribute_of_search, is_set
from inkgate.rules.sources.settings import MispWebSettings

T = TypeVar("T")

_CONNECT_SECONDS: Final = 20
_LONGEST_WAIT: Final = 60
_LONGEST_WAITS: Final = 900
_MAX_PAGES: Final = 1 << 20
# Further ahead than this is no recent edit but another server's wrong clock.
_FUTURE: Final = 60
_TEMPORARY: Final = (408, 425, 429)
_LATER: Final = "its last good reading counts; try again later"


class EventState(msgspec.Struct, frozen=True):
    """What MISP's index tells of an event; times in seconds since 1970, as texts."""

    id: Text = ""
    uuid: str = ""
    timestamp: Text = ""
    published: Flag = False
    publish_timestamp: Text = ""

    @property
    def version(self) -> str:
        """Changes with every edit."""
        return str(self.timestamp)

    def is_recent(self, now: int) -> bool:
        """Whether another edit could leave all times as they are, which count in seconds."""
        return any(
            0 <= _seconds(moment) - now <= _FUTURE
            for moment in (self.timestamp, self.publish_timestamp)
        )


class _Again(Exception):  # noqa: N818 (it says what to do)
    """MISP did not answer this time; it may the next."""


class _Watch(AuthBase):
    """Notes what PyMISP keeps to itself: the status and headers of the last answer.

    As `auth` it also keeps requests from sending what ~/.netrc has for the host in
    place of the key.
    """

    def __init__(self) -> None:
        self.answer: Response | None = None

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        self.answer = None
        request.register_hook("response", self._note)  # type: ignore[no-untyped-call]
        return request

    @property
    def status(self) -> int:
        """0 if there was no answer."""
        return self.answer.status_code if self.answer is not None else 0

    def header(self, name: str) -> str:
        return self.answer.headers.get(name, "") if self.answer is not None else ""

    def number(self, name: str) -> int | None:
        """A header that is a decimal number, else None."""
        text = self.header(name)
        return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None

    def _note(self, answer: Response, **_: Any) -> None:
        self.answer = answer


class MispApi:
    """A MISP that was reached with the key of the settings.

    Args:
        settings: which instance, and what of it.
        folder: where relative paths of the settings begin.

    Raises:
        Unreadable: it cannot be reached, or does not accept the key. So do all methods,
            after the tries that the settings allow.
    """

    def __init__(self, settings: MispWebSettings, folder: Path) -> None:
        self._settings = settings
        parts = urlsplit(settings.url)
        port = f":{parts.port}" if parts.port else ""
        # Without what the address may carry of a password.
        self._place = Path(f"{parts.hostname}{port}{parts.path.rstrip('/')}")
        self._watch = _Watch()
        self._waited = 0.0
        self._backoff = wait_random_exponential(multiplier=settings.first_wait, max=_LONGEST_WAIT)
        key_file = folder / settings.key_file if settings.key_file else None
        key = read_secret(key_file, settings.key_variable, str(self._place))
        verify = _verification(settings, folder)
        self._misp = self._retry(lambda: self._connect(key, verify))

    def now(self) -> int:
        """The server's clock when it last answered; ours, if it did not tell."""
        try:
            return int(parsedate_to_datetime(self._watch.header("Date")).timestamp())
        except (ValueError, OverflowError):
            return int(time.time())

    def index(self) -> dict[str, EventState]:
        """The events that count, by UUID. Not filtered by MISP, where that moves rows."""
        found = self._request(lambda: self._misp.search_index(minimal=True))
        events = self._parsed(found, list[EventState])
        return {e.uuid: e for e in events if self._counts(e)}

    def events_since(self, since: int) -> list[str]:
        """UUIDs of the events published (or edited, where that is enough) since a moment."""
        name = "publish_timestamp" if self._settings.published else "timestamp"
        return [event.uuid for event in self._events({name: max(since, 1)})]

    def states(self, ids: Sequence[Text]) -> list[EventState]:
        """The state of those events, of the given ones, that count; in MISP's order."""
        return [e for e in self._events({"eventid": list(ids)}) if self._counts(e)]

    def attributes(self, events: Sequence[Text]) -> Iterator[list[Attribute]]:
        """Pages of those attributes of events that become indicators."""
        size = self._settings.page_size
        query = {**self._filters(), "eventid": list(events)}
        for page in range(1, _MAX_PAGES):
            found = self._search("attributes", {**query, "limit": size, "page": page})
            try:
                yield [attribute_of_search(item) for item in found]
            except msgspec.ValidationError as error:
                raise self._no_attributes(error) from None
            if not self._more(query, page, len(found)):
                return

    def _more(self, query: dict[str, Any], page: int, found: int) -> bool:
        """Whether a page has a next one.

        Warninglists and decay act after paging, so a short page may have. Newer MISPs
        tell how many attributes they took out; of others the next one is asked for.
        """
        size = self._settings.page_size
        skipped = self._watch.number("X-Skipped-Elements-Count")
        after_paging = query["enforce_warninglist"] or query["exclude_decayed"]
        if skipped is not None or found >= size or not after_paging:
            return found + (skipped or 0) >= size
        plain = {**query, "enforce_warninglist": None, "exclude_decayed": None}
        return bool(self._search("attributes", {**plain, "limit": 1, "page": page * size + 1}))

    def _filters(self) -> dict[str, Any]:
        settings = self._settings
        return {
            "to_ids": 1,
            "published": True if settings.published else None,
            "type_attribute": list(settings.types) or None,
            "tags": list(settings.tags) or None,
            "org": list(settings.orgs) or None,
            "enforce_warninglist": settings.enforce_warninglist or None,
            "exclude_decayed": settings.exclude_decayed or None,
            "include_event_uuid": True,
            "include_event_tags": True,
            # The only way to the event's date and organisation.
            "include_context": True,
        }

    def _counts(self, event: EventState) -> bool:
        return bool(event.uuid) and (is_set(event.published) or not self._settings.published)

    def _events(self, query: dict[str, Any]) -> list[EventState]:
        found = self._search("events", {"metadata": True, **query})
        return self._parsed(
            [item.get("Event", item) if isinstance(item, dict) else item for item in found],
            list[EventState],
        )

    def _search(self, controller: str, query: dict[str, Any]) -> list[Any]:
        found = self._request(lambda: self._misp.search(controller=controller, **query))
        if isinstance(found, dict):
            found = found.get("Attribute", [])
        if not isinstance(found, list):
            raise self._unreadable("gave an answer that is no list")
        return found

    def _parsed(self, found: object, kind: type[T]) -> T:
        try:
            return msgspec.convert(found, kind)
        except msgspec.ValidationError as error:
            raise self._no_attributes(error) from None

    def _connect(self, key: str, verify: bool | str) -> PyMISP:
        logging.getLogger("pymisp").setLevel(logging.CRITICAL + 1)
        return PyMISP(
            f"{self._settings.url.rstrip('/')}/",
            key,
            ssl=verify,
            tool="inkgate",
            auth=self._watch,
            timeout=(min(_CONNECT_SECONDS, self._settings.timeout), self._settings.timeout),
        )

    def _request(self, request: Callable[[], Any]) -> Any:
        def checked() -> Any:
            answer = request()
            if isinstance(answer, dict) and answer.get("errors"):
                raise self._refused() from None
            return answer

        return self._retry(checked)

    def _retry(self, request: Callable[[], T]) -> T:
        def once() -> T:
            try:
                return request()
            except (PyMISPError, RequestException, ValueError, OSError) as error:
                raise self._failed(error) from None

        retrying = Retrying(
            stop=self._stop,
            wait=self._wait,
            retry=retry_if_exception_type(_Again),
        )
        try:
            return retrying(once)
        except RetryError as error:
            raise self._unreadable(str(error.last_attempt.exception())) from None

    def _failed(self, error: Exception) -> Exception:
        # The texts of these may quote addresses with keys, or indicators: only the kind is told.
        cause = error.__context__ if isinstance(error.__context__, Exception) else error
        if isinstance(cause, SSLError):
            return self._unreadable(
                "has a certificate that is not trusted", "name the file of its CA in ca_file"
            )
        if self._watch.status >= 400:
            return self._refused()
        return _Again(f"does not answer ({type(cause).__name__})")

    def _refused(self) -> Exception:
        status = self._watch.status
        if status in (401, 403):
            return self._unreadable("does not accept the key", "check key_file or key_variable")
        if status >= 500 or status in _TEMPORARY or status < 400:
            return _Again(f"answers with status {status}")
        return self._unreadable(f"answers with status {status}")

    def _wait(self, state: RetryCallState) -> float:
        told = self._watch.number("Retry-After") or 0
        seconds = max(self._backoff(state), told)
        self._waited += seconds
        return seconds

    def _stop(self, state: RetryCallState) -> bool:
        return state.attempt_number > self._settings.retries or self._waited > _LONGEST_WAITS

    def _no_attributes(self, error: msgspec.ValidationError) -> Unreadable:
        return self._unreadable(f"gave something else than events and attributes ({error})")

    def _unreadable(self, problem: str, remedy: str = _LATER) -> Unreadable:
        return Unreadable(self._place, None, problem, remedy)


def _seconds(text: Text) -> int:
    digits = str(text)
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 12 else 0


def _verification(settings: MispWebSettings, folder: Path) -> bool | str:
    if not settings.ca_file or not settings.verify_tls:
        return settings.verify_tls
    path = folder / settings.ca_file
    if not path.exists():
        raise Unreadable(path, None, "does not exist", "correct ca_file")
    return str(path)
