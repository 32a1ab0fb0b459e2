"""Objects into a collection of a TAXII 2.1 server."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import quote

import msgspec

from inkgate.config.errors import Unreadable
from inkgate.config.printable import printable
from inkgate.misp.address import place_of, redirect_target
from inkgate.remote.deadline import Deadline
from inkgate.remote.errors import (
    RedirectRefusedError,
    RemoteError,
    UntrustedCertificateError,
)
from inkgate.remote.web import Answer, WebClient
from inkgate.rules.sources.taxii_api import MEDIA_TYPE, TaxiiSettings, login_headers
from inkgate.sightings.export.errors import ExportAway, ExportRefused
from inkgate.sightings.export_settings import ExportSettings

T = TypeVar("T")
Json = dict[str, object]

MAX_BYTES: Final = 8 << 20
_OK: Final = (200, 201, 202)
_TOO_LARGE: Final = 413
_UNPROCESSABLE: Final = (400, 422)
_LOGIN: Final = (401, 403)
_NONE_THERE: Final = (404, 405, 406, 415)
_POLL_SECONDS: Final = (0.1, 0.2, 0.5, 1.0, 2.0)
_MAX_TOLD: Final = 300


class _Failure(msgspec.Struct):
    id: str
    message: str = ""


class _Envelope(msgspec.Struct):
    objects: list[msgspec.Raw] = []


class Status(msgspec.Struct):
    """What a server says of objects that it was sent (TAXII 2.1, section 4.3.1)."""

    status: str
    id: str = ""
    failures: list[_Failure] = []


Refused = Callable[[str, str], None]
"""Told the id of an object that is not taken, and why."""


class Collection:
    """One collection, for one run or for ever.

    Args:
        settings: the export.
        folder: where relative paths of the settings begin.

    Raises:
        Unreadable: a secret is not there.
    """

    def __init__(self, settings: ExportSettings, folder: Path) -> None:
        self._settings = settings
        self._place = place_of(settings.url)
        url = f"{settings.url.rstrip('/').removesuffix('/objects')}/"
        self._url = f"{url}objects/"
        # <API root>/collections/<id>/, and its neighbour <API root>/status/<id>/.
        self._root = url.rstrip("/").rpartition("/")[0].removesuffix("/collections")
        login = login_headers(_login_settings(settings), folder)
        self._headers = {"Accept": MEDIA_TYPE, **login}
        self._verify = str(folder / settings.ca_file) if settings.ca_file else True

    def add(self, objects: Sequence[Json], refused: Refused) -> None:
        """Add objects; those that the server has in the same version change nothing.

        Args:
            objects: no more than may be sent at once.
            refused: called for each that the server does not take, now or ever.

        Raises:
            ExportAway: it does not answer, or not yet; some may have been added.
            ExportRefused: it does not let us add, or is no TAXII server.
        """
        with Deadline(self._settings.timeout) as deadline, self._client(deadline) as client:
            self._add(client, deadline, objects, refused)

    def _add(
        self, client: WebClient, deadline: Deadline, objects: Sequence[Json], refused: Refused
    ) -> None:
        data = msgspec.json.encode({"objects": objects})
        headers = {**self._headers, "Content-Type": MEDIA_TYPE}
        answer = self._asked(lambda: client.post(self._url, data, MAX_BYTES, headers))
        if answer.status in _OK:
            status = self._completed(client, deadline, answer)
            self._tell_failures(client, status, objects, refused)
        elif answer.status == _TOO_LARGE or answer.status in _UNPROCESSABLE:
            self._in_parts(client, deadline, objects, refused, answer.status)
        else:
            raise self._rejected(answer)

    def _in_parts(
        self,
        client: WebClient,
        deadline: Deadline,
        objects: Sequence[Json],
        refused: Refused,
        status: int,
    ) -> None:
        """Too much for one request, or one of them is not to the server's liking."""
        if len(objects) == 1:
            refused(str(objects[0]["id"]), f"status {status}")
            return
        middle = len(objects) // 2
        for half in (objects[:middle], objects[middle:]):
            self._add(client, deadline, half, refused)

    def _completed(self, client: WebClient, deadline: Deadline, answer: Answer) -> Status:
        """What became of all objects, once the server is done with them."""
        status = self._decoded(answer.body)
        for pause in _pauses():
            if status.status != "pending":
                break
            if not status.id:
                raise ExportAway(f"{self._place}: is not done, and names no status to ask for")
            try:
                deadline.sleep(pause)
            except RemoteError:
                problem = f"{self._place}: is not done within {self._settings.timeout} s"
                raise ExportAway(problem) from None
            status = self._status(client, status.id)
        return status

    def _tell_failures(
        self, client: WebClient, status: Status, objects: Sequence[Json], refused: Refused
    ) -> None:
        versions = {str(one["id"]): str(one["modified"]) for one in objects}
        for failure in status.failures:
            version = versions.get(failure.id)
            # Some servers (OASIS's medallion) call it a failure that they have it already.
            if version is not None and not self._has(client, failure.id, version):
                refused(failure.id, printable(failure.message)[:_MAX_TOLD])

    def _has(self, client: WebClient, name: str, version: str) -> bool:
        """Whether the collection has a version of an object, and lets us see it."""
        query = f"?match[version]={quote(version, safe='')}"
        url = f"{self._url}{quote(name, safe='')}/{query}"
        answer = self._asked(lambda: client.answer(url, MAX_BYTES, self._headers))
        if answer.status != 200:
            return False
        try:
            return bool(msgspec.json.decode(answer.body, type=_Envelope).objects)
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            return False

    def _status(self, client: WebClient, name: str) -> Status:
        url = f"{self._root}/status/{quote(name, safe='')}/"
        answer = self._asked(lambda: client.answer(url, MAX_BYTES, self._headers))
        if answer.status not in _OK:
            raise self._rejected(answer)
        return self._decoded(answer.body)

    def _decoded(self, body: bytes) -> Status:
        try:
            return msgspec.json.decode(body, type=Status)
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            # A page of a proxy in its way may come with status 200.
            raise ExportAway(f"{self._place}: does not answer as a TAXII 2.1 server") from None

    def _asked(self, ask: Callable[[], T]) -> T:
        try:
            return ask()
        except RedirectRefusedError as error:
            target = redirect_target(error.url, error.location)
            raise ExportRefused(
                f"{self._place}: redirects to {target}; if the collection is there, correct url"
            ) from None
        except UntrustedCertificateError as error:
            raise ExportRefused(f"{self._place}: {error.problem}; see ca_file") from None
        except RemoteError as error:
            raise ExportAway(f"{self._place}: {error.problem}") from None

    def _rejected(self, answer: Answer) -> ExportAway | ExportRefused:
        status = answer.status
        if status in _LOGIN:
            return ExportRefused(
                f"{self._place}: does not let us add objects (status {status}); see user, "
                "password_file or token_file, and can_write of the collection"
            )
        if status in _NONE_THERE:
            return ExportRefused(
                f"{self._place}: is no collection of a TAXII 2.1 server (status {status}); "
                "url is to be …/collections/ID/"
            )
        return ExportAway(f"{self._place}: answers with status {status}", _asked_pause(answer))

    def _client(self, deadline: Deadline) -> WebClient:
        settings = self._settings
        return WebClient(
            deadline, timeout=settings.timeout, verify=self._verify, proxy=settings.proxy
        )


def _login_settings(settings: ExportSettings) -> TaxiiSettings:
    try:
        return msgspec.convert(
            {
                name: getattr(settings, name)
                for name in (
                    "url", "user", "password_file", "password_variable", "token_file",
                    "token_variable", "token_scheme",
                )
            }
            | {"type": "taxii"},
            TaxiiSettings,
        )  # fmt: skip
    except msgspec.ValidationError as error:
        raise Unreadable(Path(place_of(settings.url)), None, str(error), "correct it") from None


def _pauses() -> Iterator[float]:
    yield from _POLL_SECONDS
    while True:
        yield _POLL_SECONDS[-1]


def _asked_pause(answer: Answer) -> float:
    """The seconds for which a server asks to be left alone."""
    text = answer.headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdigit() and len(text) < 10:
        return float(text)
    try:
        when = parsedate_to_datetime(text)
    except ValueError:
        return 0.0
    return max(0.0, when.timestamp() - time.time())
