"""The HTTP server: routes, keys and permissions, and the faults in between."""

from __future__ import annotations

import json
import re
import select
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import Any, NamedTuple, Self
from urllib.parse import unquote_plus, urlsplit

from support.misp.faults import Faults
from support.misp.search import Query, Search
from support.misp.store import Attribute, Event, Misp

KEY = "made-up-key-of-forty-characters-for-tests"
_DESCRIBED = files("pymisp").joinpath("data", "describeTypes.json").read_bytes()


@dataclass(frozen=True)
class Role:
    """What the owner of a key may do."""

    org: str = "ORG"
    perm_sighting: bool = True
    perm_sync: bool = False
    perm_auth: bool = True


class Answer(NamedTuple):
    """What is sent back."""

    body: Any
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()


class MispServer:
    """Serves a MISP on 127.0.0.1 from its construction until `close`.

    Args:
        misp: what to serve; an empty one by default.
        faults: what goes wrong; nothing by default. May be replaced at any time.
        tls: certificate and key files, for https.
        skipped_header: send X-Skipped-Elements-Count, as newer MISPs do.
        bulk_sightings: answer /sightings/bulkSaveSightings, which old MISPs do not have.
        path: serve the MISP below this path, and another server's 404 page elsewhere.

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
    ) -> None:
        self.misp = misp or Misp()
        self.faults = faults or Faults()
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
            return _error(
                403,
                "Authentication failed. Please make sure you pass the API key of an API "
                "enabled user along in the Authorization header.",
                path,
            )
        with self.misp.lock:
            return self._api.answer(path, role, body)


class _Api:
    def __init__(self, server: MispServer) -> None:
        self._server = server
        self._misp = server.misp
        self._search = Search(server.misp)
        self._routes: list[tuple[re.Pattern[str], Callable[..., Answer]]] = [
            (re.compile(pattern), handler)
            for pattern, handler in (
                (r"/servers/getVersion(?:\.json)?", self._version),
                (r"/servers/getPyMISPVersion\.json", self._version),
                (r"/users/view/me(?:\.json)?", self._me),
                (r"/attributes/describeTypes\.json", self._describe_types),
                (r"/attributes/restSearch", self._attributes),
                (r"/events/restSearch", self._events),
                (r"/events/index", self._index),
                (r"/sightings/add(?:/([^/]+))?", self._add_sighting),
                (r"/sightings/bulkSaveSightings/([^/]+)", self._bulk_save),
                (r"/sightings/restSearch(?:/(attribute|event))?", self._sightings),
                (r"/sightings/listSightings", self._list_sightings),
                (r"/sightings/index(?:/([^/]+))?", self._sightings_of_event),
                (r"/sightings/delete/([^/]+)", self._delete_sighting),
            )
        ]

    def answer(self, path: str, role: Role, body: Query) -> Answer:
        for pattern, handler in self._routes:
            if found := pattern.fullmatch(path):
                return handler(role, body, *(group or "" for group in found.groups()))
        return _error(404, "Not Found", path)

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

    def _attributes(self, role: Role, body: Query) -> Answer:
        page = self._search.attributes(body)
        headers = [("X-Result-Count", str(len(page.rows)))]
        if self._server.skipped_header:
            headers.append(("X-Skipped-Elements-Count", str(page.skipped)))
        return Answer({"response": {"Attribute": page.rows}}, 200, tuple(headers))

    def _events(self, role: Role, body: Query) -> Answer:
        return Answer({"response": self._search.events(body)})

    def _index(self, role: Role, body: Query) -> Answer:
        found = self._search.index(body)
        return Answer(found, 200, (("X-Result-Count", str(len(found))),))

    def _add_sighting(self, role: Role, body: Query, given: str = "") -> Answer:
        if not role.perm_sighting:
            return _forbidden("/sightings/add")
        body = body.get("Sighting", body)
        values = body.get("values") or ([body["value"]] if "value" in body else [])
        wanted = given or body.get("uuid") or body.get("id")
        found = self._by_values(values) if values else self._attribute(wanted)
        if not found:
            return Answer({"message": "Could not add the Sighting. Reason: No valid attributes."})
        when = int(body.get("timestamp") or self._misp.now())
        for attribute in found:
            made = self._misp.add_sighting(
                attribute,
                str(body.get("type", "0")),
                str(body.get("source", "")).strip(),
                when,
                org=role.org,
            )
        return Answer({"Sighting": self._search.sighting(made)})

    def _bulk_save(self, role: Role, body: Any, event: str) -> Answer:
        if not self._server.bulk_sightings:
            return _error(404, "Not Found", f"/sightings/bulkSaveSightings/{event}")
        if not (role.perm_sighting or role.perm_sync):
            return _forbidden("/sightings/bulkSaveSightings")
        if self._event(event) is None:
            problem = "Event not found or not accessible by this user."
            return _error(405, problem, f"/sightings/bulkSaveSightings/{event}")
        given = body.get("Sighting", body) if isinstance(body, dict) else body
        saved = sum(self._save(item, role) for item in given)
        said = f"{saved} sightings added." if saved else "No sightings added."
        return Answer({"saved": saved > 0, "success": said})

    def _save(self, item: Query, role: Role) -> bool:
        attribute = self._misp.attribute_uuids.get(item["attribute_uuid"])
        if item["uuid"] in self._misp.sightings or attribute is None:
            return False
        when = int(item["date_sighting"])
        self._misp.add_sighting(
            attribute, str(item["type"]), item["source"], when, item["uuid"], role.org
        )
        return True

    def _sightings(self, role: Role, body: Query, context: str = "") -> Answer:
        return Answer({"response": self._search.sightings(context, body)})

    def _list_sightings(self, role: Role, body: Query) -> Answer:
        found = self._search.sightings(body.get("context", "attribute"), body)
        return Answer([item["Sighting"] for item in found])

    def _sightings_of_event(self, role: Role, body: Query, event: str = "") -> Answer:
        found = self._search.sightings("event", {"id": event})
        return Answer([item["Sighting"] for item in found])

    def _delete_sighting(self, role: Role, body: Query, given: str) -> Answer:
        for name, sighting in self._misp.sightings.items():
            if given in (name, str(sighting.id)) and sighting.org == role.org:
                del self._misp.sightings[name]
                said = "Sighting successfully deleted."
                return Answer({"saved": True, "success": True, "name": said, "message": said})
        return _error(404, "Invalid sighting.", f"/sightings/delete/{given}")

    def _attribute(self, given: Any) -> list[Attribute]:
        """By id or UUID."""
        number = int(given) if str(given).isdigit() else 0
        found = self._misp.attributes.get(number) or self._misp.attribute_uuids.get(str(given))
        return [found] if found else []

    def _by_values(self, values: list[str]) -> list[Attribute]:
        return [a for a in self._misp.attributes.values() if a.value in values and not a.deleted]

    def _event(self, given: str) -> Event | None:
        for event in self._misp.events.values():
            if given in (str(event.id), event.uuid):
                return event
        return None


def wrap_tls(server: ThreadingHTTPServer, pair: tuple[str, str]) -> None:
    """Let a server that listens already speak TLS, with certificate and key files."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*pair)
    server.socket = context.wrap_socket(
        server.socket, server_side=True, do_handshake_on_connect=False
    )


def _forbidden(path: str) -> Answer:
    return _error(403, "You do not have permission to use this functionality.", path)


def _error(status: int, message: str, path: str) -> Answer:
    return Answer({"name": message, "message": message, "url": path}, status)


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
        data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault = served.faults.choose()
        if fault == "hang":
            self._hang(served.faults.hang_seconds)
        if fault in ("hang", "drop"):
            self.close_connection = True
            return
        if fault in ("429", "429-retry-after", "500"):
            wait = (("Retry-After", str(served.faults.retry_after)),) if "after" in fault else ()
            self._send(_error(int(fault[:3]), "An Internal Error Has Occurred.", self.path), wait)
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
            self._send(_error(405, "Invalid JSON input.", path))
            return
        answer = served.answer(path, self.headers.get("Authorization", ""), body)
        if fault == "late":
            self._hang(served.faults.hang_seconds)
            self.close_connection = True
            return
        self._send(answer, cut=fault == "cut", broken=fault == "not-json")

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
