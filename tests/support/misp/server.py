"""The HTTP server: routes, keys and permissions, and the faults in between."""

from __future__ import annotations

import json
import re
import select
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import Any, Self
from urllib.parse import unquote_plus, urlsplit

from support.misp.answers import Answer, Query, Role, error
from support.misp.csv_export import CsvText, csv_of
from support.misp.editing import EditingApi
from support.misp.facts import Facts, Instance
from support.misp.faults import Faults
from support.misp.search import Search
from support.misp.sightings import SightingsApi
from support.misp.store import Attribute, Event, Misp

KEY = "made-up-key-of-forty-characters-for-tests"
_EDITING = ("perm_add", "perm_modify", "perm_publish", "perm_tagger", "perm_tag_editor")
_DESCRIBED = files("pymisp").joinpath("data", "describeTypes.json").read_bytes()


class MispServer:
    """Serves a MISP on 127.0.0.1 from its construction until `close`.

    Args:
        misp: what to serve; an empty one by default.
        faults: what goes wrong; nothing by default. May be replaced at any time.
        tls: certificate and key files, for https.
        skipped_header: send X-Skipped-Elements-Count, as newer MISPs do.
        bulk_sightings: answer /sightings/bulkSaveSightings, which old MISPs do not have.
        path: serve the MISP below this path, and another server's 404 page elsewhere.
        facts: how it behaves; a test turns one round.
        instance: what its administrator has set.

    Attributes:
        url, key: for PyMISP.
        redirect: status and Location that every request is answered with; None for none.
        redirected: how many were.
        astray: the paths of requests that were not for the MISP.
        connections: how many were accepted.
        keys: the role behind each key.
        before: called with path and body before a request is answered: change what
            is served between two pages here.
        requests: path and body of every request so far.
    """

    def __init__(
        self,
        misp: Misp | None = None,
        faults: Faults | None = None,
        *,
        tls: tuple[str, str] | None = None,
        skipped_header: bool = True,
        bulk_sightings: bool = True,
        path: str = "",
        port: int = 0,
        facts: Facts | None = None,
        instance: Instance | None = None,
    ) -> None:
        self.misp = misp or Misp()
        self.faults = faults or Faults()
        self.facts = facts or Facts()
        self.instance = instance or Instance()
        self.key = KEY
        self.keys = {KEY: Role()}
        self.before: Callable[[str, Query], None] | None = None
        self.requests: list[tuple[str, Query]] = []
        self.skipped_header = skipped_header
        self.bulk_sightings = bulk_sightings
        self.path = path
        self.redirect: tuple[int, str] | None = None
        self.redirected = 0
        self.astray: list[str] = []
        self.connections = 0
        self._search = Search(self.misp, self.facts)
        self._searches: list[float] = []
        self._api = _Api(self)
        self._http = _Http(("127.0.0.1", port), _Handler)
        self._http.served = self
        if tls:
            wrap_tls(self._http, tls)
        self.port = int(self._http.server_address[1])
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self.port}{path}"
        self._thread = threading.Thread(
            target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop listening."""
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def answer(self, path: str, key: str, body: Query) -> Answer:
        """What a request is answered, without what goes wrong on the way."""
        self.requests.append((path, body))
        if self.before:
            self.before(path, body)
        role = self.keys.get(key)
        if role is None:
            return error(
                403,
                "Authentication failed. Please make sure you pass the API key of an API "
                "enabled user along in the Authorization header.",
                path,
            )
        with self.misp.lock:
            return self._closed(path) or self._limited(path) or self._api.answer(path, role, body)

    def shows(self, attribute: Attribute, role: Role) -> bool:
        """Whether a user sees an attribute."""
        return self._search.shows(attribute, role)

    def shows_event(self, event: Event, role: Role) -> bool:
        """Whether a user sees an event."""
        return self._search.shows_event(event, role)

    def event(self, event: Event) -> dict[str, Any]:
        """An event's metadata as it is answered."""
        return self._search.event(event)

    def tags(self) -> list[dict[str, Any]]:
        """All tags as they are answered."""
        return self._search.tags()

    def _closed(self, path: str) -> Answer | None:
        """What everybody gets in maintenance."""
        if self.instance.is_live:
            return None
        if not self.facts.maintenance_redirects:
            return error(403, "MISP is in maintenance.", path)
        if (status := self.instance.maintenance_status) != 302:
            return error(status, "MISP is in maintenance.", path)
        return Answer("", 302, (("Location", f"{self.path}/users/login"),))

    def _limited(self, path: str) -> Answer | None:
        """What a user gets who has searched too much."""
        if not self.instance.searches_a_minute:
            return None
        if self.facts.limits_are_of_searches and "restSearch" not in path:
            return None
        now = time.monotonic()
        self._searches = [moment for moment in self._searches if moment > now - 60]
        if len(self._searches) < self.instance.searches_a_minute:
            self._searches.append(now)
            return None
        reset = str(int(self._searches[0] + 60 - now) + 1)
        answer = error(429, "Rate limit exceeded.", path)
        return answer._replace(headers=(("X-Rate-Limit-Reset", reset),))


class _Api:
    def __init__(self, server: MispServer) -> None:
        self._server = server
        self._misp = server.misp
        self._search = server._search
        self.sightings = sightings = SightingsApi(server)
        self._routes: list[tuple[re.Pattern[str], Callable[..., Answer]]] = [
            (re.compile(pattern), handler)
            for pattern, handler in (
                (r"/servers/getVersion(?:\.json)?", self._version),
                (r"/servers/getPyMISPVersion\.json", self._version),
                (r"/users/view/me(?:\.json)?", self._me),
                (r"/attributes/describeTypes\.json", self._describe_types),
                (r"/attributes/restSearch", self._attributes),
                (r"/tags/index", self._tags),
                (r"/events/restSearch", self._events),
                (r"/events/index", self._index),
                (r"/sightings/add(?:/([^/]+))?", sightings.add),
                (r"/sightings/bulkSaveSightings/([^/]+)", sightings.bulk_save),
                (r"/sightings/restSearch(?:/(attribute|event))?", sightings.search),
                (r"/sightings/index(?:/([^/]+))?", sightings.of_event),
                (r"/sightings/delete/([^/]+)", sightings.delete),
                *EditingApi(server).routes,
            )
        ]

    def answer(self, path: str, role: Role, body: Query) -> Answer:
        for pattern, handler in self._routes:
            if found := pattern.fullmatch(path):
                return handler(role, body, *(group or "" for group in found.groups()))
        return error(404, "Not Found", path)

    def _version(self, role: Role, body: Query) -> Answer:
        return Answer(
            {
                "version": "2.5.20",
                "pymisp_recommended_version": "2.5.12",
                "perm_sync": role.perm_sync,
                "perm_sighting": role.perm_sighting,
            }
        )

    def _me(self, role: Role, body: Query) -> Answer:
        org = str(self._misp.org_id(role.org))
        rights = {
            "perm_sync": role.perm_sync,
            "perm_sighting": role.perm_sighting,
            "perm_auth": role.perm_auth,
            **dict.fromkeys(_EDITING, not role.read_only),
        }
        return Answer(
            {
                "User": {"id": "2", "org_id": org, "email": "reader@misp.example", "role_id": "6"},
                "Role": {"id": "6", "name": "Reader", **rights},
                "UserSetting": {},
                "Organisation": {"id": org, "name": role.org},
            }
        )

    def _describe_types(self, role: Role, body: Query) -> Answer:
        return Answer(json.loads(_DESCRIBED))

    def _tags(self, role: Role, body: Query) -> Answer:
        return Answer({"Tag": self._search.tags()})

    def _attributes(self, role: Role, body: Query) -> Answer:
        is_csv = body.get("returnFormat") == "csv"
        context = {"includeContext": 1, "includeEventTags": 1} if is_csv else {}
        page = self._search.attributes({**body, **context}, role)
        headers = [("X-Result-Count", str(len(page.rows)))]
        if self._server.skipped_header:
            headers.append(("X-Skipped-Elements-Count", str(page.skipped)))
        if is_csv:
            return Answer(CsvText(csv_of(page.rows, body)), 200, tuple(headers))
        return Answer({"response": {"Attribute": page.rows}}, 200, tuple(headers))

    def _events(self, role: Role, body: Query) -> Answer:
        return Answer({"response": self._search.events(body, role)})

    def _index(self, role: Role, body: Query) -> Answer:
        found = self._search.index(body, role)
        return Answer(found, 200, (("X-Result-Count", str(len(found))),))


def wrap_tls(server: ThreadingHTTPServer, pair: tuple[str, str]) -> None:
    """Let a server that listens already speak TLS, with certificate and key files."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*pair)
    server.socket = context.wrap_socket(
        server.socket, server_side=True, do_handshake_on_connect=False
    )


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    served: MispServer

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Called for every connection before it is served, and before TLS begins."""
        self.served.connections += 1
        return True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that go away are what is tested here."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: _Http

    def do_GET(self) -> None:
        self._handle()

    def do_POST(self) -> None:
        self._handle()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the base's name)
        pass

    def _handle(self) -> None:
        served = self.server.served
        data = self._body()
        if data is None or 0 < served.instance.most_bytes < len(data):
            self._refuse_size(is_whole=data is not None)
            return
        fault = served.faults.choose()
        if fault == "hang":
            self._hang(served.faults.hang_seconds)
        if fault in ("hang", "drop"):
            self.close_connection = True
            return
        if fault in ("429", "429-retry-after", "429-rate-limit", "500"):
            names = {"429-retry-after": "Retry-After", "429-rate-limit": "X-Rate-Limit-Reset"}
            wait = ((names[fault], str(served.faults.retry_after)),) if fault in names else ()
            self._send(error(int(fault[:3]), "An Internal Error Has Occurred.", self.path), wait)
            return
        if served.redirect:
            served.redirected += 1
            status, location = served.redirect
            self._send(Answer({}, status), (("Location", location),))
            return
        path = unquote_plus(urlsplit(self.path).path)
        if not path.startswith(f"{served.path}/"):
            served.astray.append(path)
            self._send(Answer("<h1>Not Found</h1>", 404), kind="text/html")
            return
        path = path.removeprefix(served.path)
        try:
            body = json.loads(data) if data else {}
        except ValueError:
            self._send(error(405, "Invalid JSON input.", path))
            return
        if self._is_slow(body):
            self._hang(served.faults.hang_seconds)
            self.close_connection = True
            return
        time.sleep(served.instance.answer_seconds)
        answer = served.answer(path, self.headers.get("Authorization", ""), body)
        if fault == "late":
            self._hang(served.faults.hang_seconds)
            self.close_connection = True
            return
        kind = "text/csv" if isinstance(answer.body, CsvText) else "application/json"
        self._send(answer, cut=fault == "cut", broken=fault == "not-json", kind=kind)

    def _body(self) -> bytes | None:
        """The body; None if its client was killed as it sent it, which is no empty one."""
        length = int(self.headers.get("Content-Length") or 0)
        data = self.rfile.read(length)
        return data if len(data) == length else None

    def _refuse_size(self, *, is_whole: bool) -> None:
        """As a server in front of MISP does it; who is gone hears nothing."""
        if is_whole and self.server.served.facts.front_end_names_the_size:
            answer = Answer("<h1>413 Request Entity Too Large</h1>", 413)
            self._send(answer, (("Connection", "close"),), kind="text/html")
        self.close_connection = True

    def _is_slow(self, body: Any) -> bool:
        most = self.server.served.instance.slow_sightings
        given = body.get("Sighting", []) if isinstance(body, dict) else []
        return 0 < most <= len(given)

    def _hang(self, seconds: float) -> None:
        """Say nothing until the client gives up, or for so long."""
        select.select([self.connection], [], [], seconds)

    def _send(
        self,
        answer: Answer,
        more: tuple[tuple[str, str], ...] = (),
        *,
        cut: bool = False,
        broken: bool = False,
        kind: str = "application/json",
    ) -> None:
        body = (json.dumps(answer.body) if "json" in kind else str(answer.body)).encode()
        if broken:
            body = body[: len(body) // 2]
        self.send_response_only(answer.status)
        self.send_header("Date", formatdate(self.server.served.misp.now(), usegmt=True))
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in (*answer.headers, *more):
            self.send_header(name, value)
        self.end_headers()
        with suppress(OSError):
            self.wfile.write(body[: len(body) // 2] if cut else body)
            self.wfile.flush()
        self.close_connection = self.close_connection or cut
