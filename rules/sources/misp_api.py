"""The few requests that a refresh makes of a MISP."""

from __future__ import annotations

import csv
import hashlib
import io
import time
from collections.abc import Callable, Iterator, Sequence
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

import msgspec

from inkgate.config.errors import Unreadable
from inkgate.misp.connector import Connector
from inkgate.misp.errors import MispError, RejectedError, UnavailableError
from inkgate.remote.deadline import Deadline
from inkgate.rules.sources.attribute import Attribute
from inkgate.rules.sources.proxies import Proxy
from inkgate.rules.sources.readers.lenient_json import items_of
from inkgate.rules.sources.readers.misp_event import Flag, Text, attribute_of_search, is_set

if TYPE_CHECKING:
    from pymisp import PyMISP

T = TypeVar("T")

COLUMNS: Final = ("uuid", "event_id", "attribute_tag", "event_source_org", "event_tag")
"""What is asked of each attribute to see whether its event must be read again."""

_NAMES_TO_ONE: Final = 10
"""So many more of them fit into a page than of whole attributes."""

_MAX_PAGES: Final = 1 << 20
# Further ahead than this is no recent edit but another server's wrong clock.
_FUTURE: Final = 60
_LATER: Final = "its last good reading counts; try again later"


class MispWebSettings(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="misp-web"
):
    """A MISP through its REST API. Times in seconds unless their name says otherwise."""

    url: str
    key_file: str = ""
    key_variable: str = "INKGATE_MISP_KEY"
    ca_file: str = ""
    verify_tls: bool = True
    timeout: Annotated[float, msgspec.Meta(gt=0)] = 120
    retries: Annotated[int, msgspec.Meta(ge=0)] = 5
    first_wait: Annotated[float, msgspec.Meta(ge=0)] = 1.0
    page_size: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 2000
    full_refresh_hours: Annotated[int, msgspec.Meta(ge=0)] = 24
    recheck_minutes: Annotated[int, msgspec.Meta(ge=0)] = 60
    overlap_minutes: Annotated[int, msgspec.Meta(ge=0)] = 60
    published: bool = True
    enforce_warninglist: bool = True
    exclude_decayed: bool = False
    types: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    orgs: tuple[str, ...] = ()
    proxy: Proxy = ""

    def __post_init__(self) -> None:
        if not self.url.startswith(("https://", "http://")):
            raise ValueError("url begins with https://")


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


class MispApi:
    """A MISP, asked with the key of the settings.

    Args:
        settings: which instance, and what of it.
        folder: where relative paths of the settings begin.
        deadline: of all requests together; None: there is none.

    Raises:
        Unreadable: there is no key. So do all methods if MISP cannot be reached or does
            not answer, after the tries that the settings allow.
    """

    def __init__(
        self, settings: MispWebSettings, folder: Path, deadline: Deadline | None = None
    ) -> None:
        self._settings = settings
        self._misp = Connector.configured(
            settings,
            folder,
            retries=settings.retries,
            first_wait=settings.first_wait,
            proxy=settings.proxy,
            deadline=deadline,
        )
        self.place = Path(self._misp.place)
        self._spelled: list[str] | None = None

    def now(self) -> int:
        """The server's clock when it last answered; ours, if it did not tell."""
        try:
            return int(parsedate_to_datetime(self._misp.header("Date")).timestamp())
        except (ValueError, OverflowError):
            return int(time.time())

    def index(self) -> dict[str, EventState]:
        """The events that count, by UUID. Not filtered by MISP, where that moves rows."""
        found = self._request(lambda misp: misp.search_index(minimal=True))
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
            yield [attribute_of_search(item) for item in found]
            if not self._more(query, page, len(found), size):
                return

    def names(self) -> Iterator[list[str]]:
        """`COLUMNS` of all attributes that become indicators."""
        size = self._settings.page_size * _NAMES_TO_ONE
        query = {name: value for name, value in self._filters().items() if "include" not in name}
        for page in range(1, _MAX_PAGES):
            asked = {**query, "limit": size, "page": page, "requested_attributes": list(COLUMNS)}
            found = self._rows(
                self._request(
                    lambda misp, asked=asked: misp.search(
                        "attributes", return_format="csv", **asked
                    ),  # type: ignore[misc]
                    is_text=True,
                )
            )
            yield from found
            if not self._more(query, page, len(found), size):
                return

    def unexportable_tags(self) -> str:
        """A digest of the names of the tags that MISP leaves out of its answers."""
        names = sorted(
            str(tag.get("name"))
            for tag in self._all_tags()
            if not is_set(tag.get("exportable", True))
        )
        return hashlib.blake2b(msgspec.json.encode(names), digest_size=16).hexdigest()

    def _tags_there(self) -> list[str]:
        """The tags of the settings as MISP spells them: its search may tell cases apart."""
        wanted = self._settings.tags
        if wanted and self._spelled is None:
            there: dict[str, list[str]] = {}
            for tag in self._all_tags():
                name = str(tag.get("name"))
                there.setdefault(name.casefold(), []).append(name)
            self._spelled = [name for tag in wanted for name in there.get(tag.casefold(), [tag])]
        return self._spelled or []

    def _all_tags(self) -> list[dict[str, Any]]:
        found = self._request(lambda misp: misp.tags())
        if not isinstance(found, list):
            raise self._unreadable("gave an answer that is no list of tags")
        return [tag for tag in found if isinstance(tag, dict)]

    def _rows(self, text: str) -> list[list[str]]:
        try:
            rows = [row for row in csv.reader(io.StringIO(text), strict=True) if row]
        except csv.Error:
            raise self._unreadable("gave a CSV that is damaged") from None
        if not rows or tuple(rows[0]) != COLUMNS or any(len(r) != len(COLUMNS) for r in rows):
            raise self._unreadable("gave something else than the CSV that was asked for")
        return rows[1:]

    def _more(self, query: dict[str, Any], page: int, found: int, size: int) -> bool:
        """Whether a page has a next one.

        Warninglists and decay act after paging, so a short page may have. Newer MISPs
        tell how many attributes they took out; of others the next one is asked for.
        """
        skipped = self._misp.number("X-Skipped-Elements-Count")
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
            "tags": self._tags_there() or None,
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
        found = self._request(lambda misp: misp.search(controller=controller, **query))
        if isinstance(found, dict) and "Attribute" in found:
            found = items_of(found["Attribute"])
        if not isinstance(found, list):
            raise self._unreadable("gave an answer that is no list")
        return found

    def _parsed(self, found: object, kind: type[T]) -> T:
        try:
            return msgspec.convert(found, kind)
        except msgspec.ValidationError as error:
            problem = f"gave something else than events ({error})"
            raise self._unreadable(problem) from None

    def _request(self, question: Callable[[PyMISP], Any], *, is_text: bool = False) -> Any:
        try:
            return self._misp.text(question) if is_text else self._misp.request(question)
        except MispError as error:
            may_pass = type(error) in (UnavailableError, RejectedError)
            remedy = _LATER if may_pass else error.remedy
            raise self._unreadable(error.problem, remedy) from None

    def _unreadable(self, problem: str, remedy: str = _LATER) -> Unreadable:
        return Unreadable(self.place, None, problem, remedy)


def _seconds(text: Text) -> int:
    digits = str(text)
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 12 else 0
