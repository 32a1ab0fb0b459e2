"""A MISP through its REST API, with PyMISP.

MISP applies warninglists and decay after it has cut the answer into pages, so a short
or empty page says nothing about the end. And whatever is deleted while we read moves
all later attributes forward, past a reader who goes forward. So the number of
attributes is asked for first (by pages of one), and pages are read from the last to
the first: what moves forward is then read twice, and never missed.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
from tenacity import (
    RetryError,
    Retrying,
    retry_if_exception_type,
    stop_after_attempt,
    wait_random_exponential,
)

from rules.sources.attribute import Attribute
from rules.sources.mirror import Mirror
from rules.sources.misp_event import attribute_of_search
from rules.sources.secret import read_secret
from rules.sources.settings import MispWebSettings
from rules.sources.source import Origin
from rules.sources.unreadable import Unreadable

if TYPE_CHECKING:
    from pymisp import PyMISP

_CONNECT_SECONDS: Final = 20
_EVENTS_AT_ONCE: Final = 100
_LONGEST_WAIT: Final = 60
_TOO_MANY: Final = 429
_MAX_PAGES: Final = 1 << 26


class _Again(Exception):  # noqa: N818 (it says what to do)
    """MISP did not answer this time; it may the next."""


class MispWeb:
    """A MISP instance, mirrored so that a refresh asks for what has changed only.

    Args:
        settings: which instance, and what of it.
        folder: where relative paths of the settings begin.
        mirror: where the attributes of the last reading are kept.
        full: read all of it, however fresh the mirror is.
    """

    origin: Origin = "web"

    def __init__(
        self, settings: MispWebSettings, folder: Path, mirror: Path, *, full: bool = False
    ) -> None:
        self._settings = settings
        self._folder = folder
        self._path = mirror
        self._full = full
        self._place = Path(settings.url)

    def read(self, faults: list[Unreadable]) -> Iterator[Attribute]:
        """See `Source`."""
        mirror = Mirror(self._path, _fingerprint(self._settings))
        try:
            try:
                self._update(mirror)
            except Unreadable as fault:
                mirror.undo()
                faults.append(fault)
            yield from mirror.attributes()
        finally:
            mirror.close()

    def _update(self, mirror: Mirror) -> None:
        started = int(time.time())
        api = _Api(self._settings, self._folder, self._place)
        age = started - mirror.full_at
        full = (
            self._full
            or not self._settings.published
            or age >= self._settings.full_refresh_hours * 3600
        )
        if full:
            mirror.clear()
            for page in api.attributes({}):
                mirror.put(page)
            mirror.commit(synced_at=started, full_at=started)
        else:
            since = mirror.synced_at - self._settings.overlap_minutes * 60
            self._update_events(api, mirror, since)
            mirror.commit(synced_at=started, full_at=mirror.full_at)

    def _update_events(self, api: _Api, mirror: Mirror, since: int) -> None:
        """Read again what was published since; forget what is published no more.

        Whole events are read, so a deleted attribute or one whose to_ids was taken
        away is gone without having to be found.
        """
        mirror.keep_events(api.published_events())
        changed = list(api.events_published_since(since))
        for start in range(0, len(changed), _EVENTS_AT_ONCE):
            some = changed[start : start + _EVENTS_AT_ONCE]
            mirror.remove_events(some)
            for page in api.attributes({"eventid": some}):
                mirror.put(page)


class _Api:
    """The few requests that we need, each tried again with growing waits."""

    def __init__(self, settings: MispWebSettings, folder: Path, place: Path) -> None:
        self._settings = settings
        self._place = place
        key_file = folder / settings.key_file if settings.key_file else None
        key = read_secret(key_file, settings.key_variable, settings.url)
        self._misp = self._retry(lambda: self._connect(key, folder))

    def attributes(self, more: dict[str, Any]) -> Iterator[list[Attribute]]:
        """Pages of the attributes that become indicators, from the last to the first."""
        size = self._settings.page_size
        query = {**self._filters(), **more}
        for page in range(-(-self._count(query) // size), 0, -1):
            found = self._search(
                "attributes",
                {
                    **query,
                    "limit": size,
                    "page": page,
                    "enforce_warninglist": self._settings.enforce_warninglist or None,
                    "exclude_decayed": self._settings.exclude_decayed or None,
                    "include_event_uuid": True,
                    "include_event_tags": True,
                },
            )
            yield self._parsed(found)

    def published_events(self) -> set[str]:
        """UUIDs of all events that are published."""
        found = self._retry(
            lambda: self._checked(self._misp.search_index(published=True, minimal=True))
        )
        return {str(event.get("uuid", "")) for event in found if isinstance(event, dict)}

    def events_published_since(self, since: int) -> Iterator[str]:
        """UUIDs of the events published at or after a moment (seconds since 1970)."""
        for page in range(1, _MAX_PAGES):
            found = self._search(
                "events",
                {
                    "metadata": True,
                    "publish_timestamp": since,
                    "published": True,
                    "limit": self._settings.page_size,
                    "page": page,
                },
            )
            if not found:
                return
            for item in found:
                event = item.get("Event", item)
                yield str(event.get("uuid", ""))

    def _filters(self) -> dict[str, Any]:
        settings = self._settings
        return {
            "to_ids": 1,
            "published": True if settings.published else None,
            "type_attribute": list(settings.types) or None,
            "tags": list(settings.tags) or None,
            "org": list(settings.orgs) or None,
        }

    def _count(self, query: dict[str, Any]) -> int:
        """How many attributes there are before the filters that MISP applies to pages."""

        def exists(number: int) -> bool:
            return bool(self._search("attributes", {**query, "limit": 1, "page": number}))

        if not exists(1):
            return 0
        high = 2
        while high < _MAX_PAGES and exists(high):
            high *= 2
        low = high // 2
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if exists(middle) else (low, middle)
        return low

    def _search(self, controller: str, query: dict[str, Any]) -> list[dict[str, Any]]:
        found = self._retry(
            lambda: self._checked(self._misp.search(controller=controller, **query))
        )
        if isinstance(found, dict):
            found = found.get("Attribute", [])
        if not isinstance(found, list):
            raise self._unreadable("gave an answer that is no list")
        return found

    def _parsed(self, found: list[dict[str, Any]]) -> list[Attribute]:
        try:
            return [attribute_of_search(item) for item in found]
        except msgspec.ValidationError as error:
            raise self._unreadable(f"gave something else than attributes ({error})") from None

    def _connect(self, key: str, folder: Path) -> PyMISP:
        # Imported here: it takes a fifth of a second, and only who asks a MISP needs it.
        from pymisp import PyMISP  # noqa: PLC0415
        from pymisp.exceptions import PyMISPError  # noqa: PLC0415

        logging.getLogger("pymisp").setLevel(logging.CRITICAL + 1)
        settings = self._settings
        verify: bool | str = settings.verify_tls
        if settings.ca_file and settings.verify_tls:
            verify = str(folder / settings.ca_file)
        try:
            return PyMISP(
                settings.url,
                key,
                ssl=verify,
                tool="inkgate",
                timeout=(_CONNECT_SECONDS, settings.timeout),
            )
        except PyMISPError as error:
            if "403" in str(error) or "401" in str(error):
                raise self._unreadable("does not accept the key") from None
            raise _Again("cannot be reached") from None
        except Exception as error:  # noqa: BLE001 (PyMISP lets many kinds through)
            raise _Again(f"cannot be reached ({type(error).__name__})") from None

    def _checked(self, answer: Any) -> Any:
        errors = answer.get("errors") if isinstance(answer, dict) else None
        if not errors:
            return answer
        code = errors[0] if isinstance(errors, (tuple, list)) else errors
        if code == _TOO_MANY or (isinstance(code, int) and code >= 500):
            raise _Again(f"answers with status {code}")
        raise self._unreadable(f"answers with status {code}")

    def _retry(self, request: Any) -> Any:
        from pymisp.exceptions import PyMISPError  # noqa: PLC0415
        from requests import RequestException  # noqa: PLC0415

        def once() -> Any:
            try:
                return request()
            except (PyMISPError, RequestException, ValueError) as error:
                # The texts of these may quote addresses with keys, or indicators.
                raise _Again(f"does not answer ({type(error).__name__})") from None

        try:
            return Retrying(
                stop=stop_after_attempt(self._settings.retries + 1),
                wait=wait_random_exponential(
                    multiplier=self._settings.first_wait, max=_LONGEST_WAIT
                ),
                retry=retry_if_exception_type(_Again),
            )(once)
        except RetryError as error:
            raise self._unreadable(str(error.last_attempt.exception())) from None

    def _unreadable(self, problem: str) -> Unreadable:
        return Unreadable(
            self._place, None, problem, "its last good reading counts; try again later"
        )


def _fingerprint(settings: MispWebSettings) -> str:
    """What decides on a mirror's content: with other settings it begins anew."""
    return msgspec.json.encode(
        [
            settings.url,
            settings.published,
            settings.enforce_warninglist,
            settings.exclude_decayed,
            settings.types,
            settings.tags,
            settings.orgs,
        ]
    ).decode()
