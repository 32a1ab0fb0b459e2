"""The few requests that a refresh makes of a TAXII 2.1 server."""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, NamedTuple, TypeVar
from urllib.parse import quote, urlencode, urljoin, urlsplit

import msgspec

from inkgate.config.errors import Unreadable
from inkgate.config.secret import read_secret
from inkgate.misp.address import place_of, redirect_target
from inkgate.remote.bodies import check_parts
from inkgate.remote.deadline import Deadline
from inkgate.remote.errors import OutOfTimeError, RedirectRefusedError, RemoteError
from inkgate.remote.redirects import origin
from inkgate.rules.sources.proxies import Proxy
from inkgate.rules.sources.readers.source_file import MAX_PARTS
from inkgate.rules.sources.readers.stix_objects import objects_of

if TYPE_CHECKING:
    from inkgate.remote.web import WebClient

T = TypeVar("T")
Scheme = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{1,32}$")]

MAX_BYTES: Final = 256 << 20
MAX_OBJECTS: Final = 10_000_000
MEDIA_TYPE: Final = "application/taxii+json;version=2.1"
_ADDED_LAST: Final = "X-TAXII-Date-Added-Last"
_MOMENT: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,12})?Z")
# RFC 9110, section 5.5, without white space at the ends.
_TOKEN: Final = re.compile(r"[\x21-\x7e]+(?: [\x21-\x7e]+)*")
_CORRECT: Final = "correct token_file or token_variable"
# The types that say what is to be blocked, or tell of it.
_TYPES: Final = "indicator,identity,marking-definition,report,grouping"
_REMEDY: Final = "its last good reading counts; check url and collection"
_LOGIN: Final = "its last good reading counts; check user, password or token"
_NO_TIME: Final = "its last good reading counts; try again later"


class TaxiiSettings(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="taxii"
):
    """A collection of a TAXII 2.1 server. Times in seconds unless their name says otherwise."""

    url: str
    collection: str = ""
    user: str = ""
    password_file: str = ""
    password_variable: str = "INKGATE_TAXII_PASSWORD"  # noqa: S105 (a name)
    token_file: str = ""
    token_variable: str = "INKGATE_TAXII_TOKEN"  # noqa: S105 (a name)
    token_scheme: Scheme = "Bearer"  # noqa: S105 (a name)
    ca_file: str = ""
    timeout: Annotated[int, msgspec.Meta(ge=1)] = 60
    page_size: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 1000
    full_refresh_hours: Annotated[int, msgspec.Meta(ge=0)] = 24
    proxy: Proxy = ""

    def __post_init__(self) -> None:
        if not self.url.startswith(("https://", "http://")):
            raise ValueError("url begins with https://")
        if "@" in urlsplit(self.url).netloc:
            raise ValueError("url holds no user; give user and password_file")


class Page(NamedTuple):
    """A part of a collection.

    Attributes:
        objects: as they came.
        added_last: the server's moment at which the last of them was added, or empty.
    """

    objects: Sequence[bytes | msgspec.Raw]
    added_last: str


class _Resource(msgspec.Struct):
    """Any of what a server answers: discovery, API root, collections or a collection."""

    default: str | None = None
    api_roots: list[str] | None = None
    versions: list[str] | None = None
    collections: list[_Collection] | None = None
    id: str | None = None
    can_read: bool = True


class _Collection(msgspec.Struct):
    id: str
    title: str = ""
    alias: str = ""
    can_read: bool = True


class _Envelope(msgspec.Struct):
    more: bool | None = None
    next: str | None = None
    objects: list[msgspec.Raw] | None = None


class TaxiiClient:
    """One server, until a deadline.

    Args:
        settings: where it is, and how to log in.
        folder: where relative paths of the settings begin.
        deadline: of everything that is asked.

    Raises:
        Unreadable: a secret that the settings name is not there.
    """

    def __init__(self, settings: TaxiiSettings, folder: Path, deadline: Deadline) -> None:
        self.place = Path(place_of(settings.url))
        self._settings = settings
        self._folder = folder
        self._headers = {"Accept": MEDIA_TYPE, **login_headers(settings, folder)}
        self._client = self._opened(deadline)

    def objects_url(self) -> str:
        """The address of the collection's objects.

        Raises:
            Unreadable: there is none such, or it may not be read.
        """
        url = _folder_of(self._settings.url)
        if url.endswith("/objects/"):
            return url
        found = self._resource(url)
        if found.id is not None:
            return self._readable(url, found.can_read)
        if found.collections is not None:
            return self._chosen(url, found.collections)
        if found.versions is not None:
            return self._of_root(url)
        roots = dict.fromkeys(filter(None, [found.default, *(found.api_roots or ())]))
        if not roots:
            raise self._unreadable("does not answer as a TAXII 2.1 server does")
        return self._of_roots(url, list(roots))

    def pages(self, url: str, added_after: str) -> Iterator[Page]:
        """The objects of a collection that were added after a moment, or all.

        Args:
            url: of `objects_url`.
            added_after: `Page.added_last` of an earlier reading, or empty.

        Raises:
            Unreadable: the server broke off, or its pages have no end.
        """
        after, following, count = added_after, "", 0
        seen: set[tuple[str, str]] = set()
        while True:
            if (after, following) in seen:
                raise self._unreadable("gives the same page again and again")
            seen.add((after, following))
            envelope, objects, added_last = self._page(url, after, following)
            count += len(objects)
            if count > MAX_OBJECTS:
                raise self._unreadable(f"has more than {MAX_OBJECTS:,} objects")
            yield Page(objects, added_last)
            if not envelope.more:
                return
            following = envelope.next or ""
            if not following:
                # Without a mark for the next page, the time says where it begins.
                after = added_last

    def close(self) -> None:
        """End the connections."""
        self._client.close()

    def _page(
        self, url: str, after: str, following: str
    ) -> tuple[_Envelope, Sequence[bytes | msgspec.Raw], str]:
        asked = {
            "limit": str(self._settings.page_size),
            "match[type]": _TYPES,
            "added_after": after,
            "next": following,
        }
        query = urlencode({name: text for name, text in asked.items() if text}, quote_via=quote)
        data, headers = self._get(f"{url}?{query}")
        added_last = headers.get(_ADDED_LAST, "")
        envelope = self._decoded(data, _Envelope)
        return (
            envelope,
            _objects(data, envelope),
            added_last if _MOMENT.fullmatch(added_last) else "",
        )

    def _of_roots(self, url: str, roots: list[str]) -> str:
        faults = []
        for root in roots:
            try:
                at = _folder_of(urljoin(url, root))
                is_home = origin(at) == origin(url)
            except ValueError:
                # It is no address at all.
                is_home = False
            if not is_home:
                faults.append(self._unreadable("names an API root on another host"))
                continue
            try:
                return self._of_root(at)
            except Unreadable as fault:
                faults.append(fault)
        raise faults[0]

    def _of_root(self, root: str) -> str:
        at = f"{root}collections/"
        return self._chosen(at, self._resource(at).collections or [])

    def _chosen(self, url: str, collections: list[_Collection]) -> str:
        wanted = self._settings.collection
        if not wanted:
            raise self._unreadable("is a server of collections", "name one with collection")
        for one in collections:
            if wanted in (one.id, one.title, one.alias):
                return self._readable(f"{url}{quote(one.id, safe='')}/", one.can_read)
        raise self._unreadable("has no collection of that id, title or alias")

    def _readable(self, url: str, can_read: bool) -> str:
        if not can_read:
            raise self._unreadable("does not let us read that collection", _LOGIN)
        return f"{url}objects/"

    def _resource(self, url: str) -> _Resource:
        return self._decoded(self._get(url)[0], _Resource)

    def _decoded(self, data: bytes, kind: type[T]) -> T:
        try:
            check_parts(data, MAX_PARTS)
            return msgspec.json.decode(data, type=kind)
        except RemoteError as error:
            raise self._unreadable(error.problem) from None
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            raise self._unreadable("does not answer as a TAXII 2.1 server does") from None

    def _get(self, url: str) -> tuple[bytes, Mapping[str, str]]:
        try:
            answer = self._client.answer(url, MAX_BYTES, self._headers)
        except OutOfTimeError as error:
            raise self._unreadable(error.problem, _NO_TIME) from None
        except RedirectRefusedError as error:
            target = redirect_target(error.url, error.location)
            raise self._unreadable(f"redirects to {target}") from None
        except RemoteError as error:
            raise self._unreadable(error.problem, _NO_TIME) from None
        if answer.status != 200:
            raise self._rejected(answer.status)
        return answer.body, answer.headers

    def _opened(self, deadline: Deadline) -> WebClient:
        # Imported here: only who has such a source needs it.
        from inkgate.remote.web import WebClient  # noqa: PLC0415

        ca_file = self._settings.ca_file
        return WebClient(
            deadline,
            timeout=self._settings.timeout,
            verify=str(self._folder / ca_file) if ca_file else True,
            proxy=self._settings.proxy,
        )

    def _rejected(self, status: int) -> Unreadable:
        if status in (401, 403):
            return self._unreadable(f"does not accept the login (status {status})", _LOGIN)
        if status in (404, 406, 415):
            return self._unreadable(f"has no TAXII 2.1 at that address (status {status})")
        return self._unreadable(f"cannot be asked (status {status})")

    def _unreadable(self, problem: str, remedy: str = _REMEDY) -> Unreadable:
        return Unreadable(self.place, None, problem, remedy)


def _objects(data: bytes, envelope: _Envelope) -> Sequence[bytes | msgspec.Raw]:
    """All objects of a page, as of a bundle; none where it has null in their place."""
    try:
        return objects_of(data)
    except msgspec.ValidationError:
        return envelope.objects or []


def login_headers(settings: TaxiiSettings, folder: Path) -> dict[str, str]:
    """The header that logs in; none if the settings name no secret.

    Raises:
        Unreadable: a secret that they name is not there.
    """
    place = place_of(settings.url)
    if settings.user:
        file = folder / settings.password_file if settings.password_file else None
        password = read_secret(file, settings.password_variable, place)
        pair = base64.b64encode(f"{settings.user}:{password}".encode()).decode()
        return {"Authorization": f"Basic {pair}"}
    file = folder / settings.token_file if settings.token_file else None
    if file is None and not os.environ.get(settings.token_variable, "").strip():
        return {}
    token = read_secret(file, settings.token_variable, place)
    if not _TOKEN.fullmatch(token):
        raise Unreadable(Path(place), None, "has a token that no header can hold", _CORRECT)
    return {"Authorization": f"{settings.token_scheme} {token}"}


def _folder_of(url: str) -> str:
    """With the slash that TAXII 2.1 wants at the end of every path, and without a query."""
    return f"{urlsplit(url)._replace(query='', fragment='').geturl().rstrip('/')}/"
