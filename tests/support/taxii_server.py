"""A TAXII 2.1 server for tests: discovery, an API root, collections and their objects."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from support.misp.server import wrap_tls

MEDIA_TYPE = "application/taxii+json;version=2.1"
COLLECTION = "00000000-0000-4000-8000-00000000c011"
SECRET_COLLECTION = "00000000-0000-4000-8000-00000000c012"
_ROOT = "/api1/"


class TaxiiServer:
    """Keeps what was added in its order, a second each.

    Args:
        tls: paths of a certificate and its key.
        login: the Authorization that it wants; empty for none.

    Attributes:
        asked: the paths and queries that were asked for.
        headers: of the last request.
        page: how many objects it gives at most, whatever is asked for.
        marks: whether it gives `next`; without it the time says where a page begins.
        list_name: of the member that holds the objects.
        fails: answers this status from so many requests on.
        answers: bodies for paths, instead of its own.
        redirect: where every answer leads.
        roots: the API roots that it names.
        posted: the bodies that objects came in.
        added: what was added, by id and version: a version that is there is no new one.
        conflicts: ids of objects that came with two contents in one version.
        is_strict: it calls a version that it has a failure, as OASIS's medallion does.
        most_bytes: of a body; a larger one is too large.
        polls: how often it says that it is not done with a body yet.
        refuses: says why it does not take an object; empty if it does.
        loses: answers so many bodies with nothing, after it has taken them.
        post_status: answers a body so, instead of taking it, and with `retry_after`.
    """

    def __init__(self, tls: tuple[str, str] | None = None, login: str = "") -> None:
        self.objects: list[tuple[str, dict[str, Any]]] = []
        self.asked: list[str] = []
        self.headers: dict[str, str] = {}
        self.page = 1000
        self.marks = True
        self.list_name = "objects"
        self.login = login
        self.fails: tuple[int, int] | None = None
        self.answers: dict[str, bytes] = {}
        self.redirect: str | None = None
        self.roots = [_ROOT]
        self.posted: list[dict[str, Any]] = []
        self.added: dict[tuple[str, str], dict[str, Any]] = {}
        self.conflicts: list[str] = []
        self.is_strict = False
        self.most_bytes = 1 << 20
        self.polls = 0
        self.refuses: Callable[[dict[str, Any]], str] = lambda _: ""
        self.loses = 0
        self.post_status = 0
        self.retry_after = ""
        self._statuses: dict[str, list[Any]] = {}
        served = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                served.asked.append(self.path)
                served.headers = dict(self.headers)
                status, body, more = served.answer(self.path, self.headers)
                self.send_response_only(status)
                for name, text in {"Content-Type": MEDIA_TYPE, **more}.items():
                    self.send_header(name, text)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_POST(self) -> None:
                served.asked.append(self.path)
                served.headers = dict(self.headers)
                data = self.rfile.read(int(self.headers["Content-Length"]))
                status, body, more = served.taken(self.path, self.headers, data)
                if not status:
                    self.close_connection = True
                    return
                self.send_response_only(status)
                for name, text in {"Content-Type": MEDIA_TYPE, **more}.items():
                    self.send_header(name, text)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if tls:
            wrap_tls(self._http, tls)
        scheme = "https" if tls else "http"
        self.host = f"127.0.0.1:{self._http.server_address[1]}"
        self.base = f"{scheme}://{self.host}"
        self.url = f"{self.base}/taxii2/"
        self.collection_url = f"{self.base}{_ROOT}collections/{COLLECTION}/"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()

    def add(self, *objects: dict[str, Any]) -> None:
        """Add objects, each a second after the one before."""
        for one in objects:
            number = len(self.objects)
            moment = f"2026-01-01T{number // 3600:02}:{number // 60 % 60:02}:{number % 60:02}.000Z"
            self.objects.append((moment, one))

    def answer(self, path: str, headers: Any) -> tuple[int, bytes, dict[str, str]]:
        """Status, body and headers for a request."""
        if self.fails and len(self.asked) > self.fails[0]:
            return self.fails[1], b"", {}
        if self.redirect is not None:
            return 302, b"", {"Location": self.redirect}
        if self.login and headers.get("Authorization") != self.login:
            return 401, b"{}", {"WWW-Authenticate": "Basic realm=taxii"}
        if headers.get("Accept") != MEDIA_TYPE:
            return 406, b"{}", {}
        parts = urlsplit(path)
        if parts.path in self.answers:
            return 200, self.answers[parts.path], {}
        found = self._resource(parts.path)
        if found is not None:
            return 200, json.dumps(found).encode(), {}
        all_of_them = f"{_ROOT}collections/{COLLECTION}/objects/"
        if parts.path == all_of_them:
            return self._objects(parse_qs(parts.query))
        if parts.path.startswith(all_of_them):
            return self._versions(parts.path[len(all_of_them) : -1], parse_qs(parts.query))
        return 404, b"{}", {}

    def taken(self, path: str, headers: Any, data: bytes) -> tuple[int, bytes, dict[str, str]]:
        """Status, body and headers for objects that are added (TAXII 2.1, section 5.5).

        Status 0: the connection breaks off.
        """
        if self.redirect is not None:
            return 302, b"", {"Location": self.redirect}
        if self.login and headers.get("Authorization") != self.login:
            return 401, b"{}", {"WWW-Authenticate": "Basic realm=taxii"}
        if headers.get("Accept") != MEDIA_TYPE:
            return 406, b"{}", {}
        if headers.get("Content-Type") != MEDIA_TYPE:
            return 415, b"{}", {}
        if path == f"{_ROOT}collections/{SECRET_COLLECTION}/objects/":
            return 403, b"{}", {}
        if path != f"{_ROOT}collections/{COLLECTION}/objects/":
            return 404, b"{}", {}
        if self.post_status:
            return self.post_status, b"{}", {"Retry-After": self.retry_after}
        if len(data) > self.most_bytes:
            return 413, b"{}", {}
        body = json.loads(data)
        self.posted.append(body)
        name = f"00000000-0000-4000-8000-{len(self.posted):012x}"
        self._statuses[name] = [self.polls, self._added(name, body["objects"])]
        if self.loses:
            self.loses -= 1
            return 0, b"", {}
        return 202, json.dumps(self._status(name)).encode(), {}

    def _added(self, name: str, objects: list[dict[str, Any]]) -> dict[str, Any]:
        lists: dict[str, list[dict[str, str]]] = {"successes": [], "failures": []}
        for one in objects:
            why = self.refuses(one)
            if self.is_strict and (one["id"], one["modified"]) in self.added:
                why = "Unable to process object"
            told = {"id": one["id"], "version": one["modified"]}
            if why:
                lists["failures"].append(told | {"message": why})
                continue
            lists["successes"].append(told)
            before = self.added.setdefault((one["id"], one["modified"]), one)
            if before != one:
                self.conflicts.append(one["id"])
        counts = {
            "total_count": len(objects),
            "success_count": len(lists["successes"]),
            "failure_count": len(lists["failures"]),
            "pending_count": 0,
        }
        return {"id": name, "status": "complete", **lists, **counts}

    def _status(self, name: str) -> dict[str, Any]:
        polls, done = self._statuses[name]
        if not polls:
            return dict(done)
        self._statuses[name][0] -= 1
        total = done["total_count"]
        counts = {"success_count": 0, "failure_count": 0, "pending_count": total}
        return {"id": name, "status": "pending", "total_count": total, **counts}

    def newest(self, kind: str) -> list[dict[str, Any]]:
        """The newest version of each object of a type."""
        found: dict[str, dict[str, Any]] = {}
        for (name, _), one in sorted(self.added.items()):
            if one["type"] == kind:
                found[name] = one
        return list(found.values())

    def _resource(self, path: str) -> dict[str, Any] | None:
        one = {"id": COLLECTION, "title": "Bad hosts", "alias": "bad", "can_read": True}
        other = {"id": SECRET_COLLECTION, "title": "Secret", "can_read": False, "can_write": False}
        before = f"{_ROOT}status/"
        if path.startswith(before):
            name = path.removeprefix(before).rstrip("/")
            return self._status(name) if name in self._statuses else None
        return {
            "/taxii2/": {"title": "made up", "default": self.roots[0], "api_roots": self.roots},
            _ROOT: {"title": "root", "versions": [MEDIA_TYPE], "max_content_length": 1 << 20},
            f"{_ROOT}collections/": {"collections": [other, one]},
            f"{_ROOT}collections/{COLLECTION}/": one,
        }.get(path)

    def _versions(
        self, name: str, query: dict[str, list[str]]
    ) -> tuple[int, bytes, dict[str, str]]:
        """One object (section 5.6)."""
        found = [
            one
            for (known, version), one in self.added.items()
            if known == name and version in query.get("match[version]", [version])
        ]
        return 200, json.dumps({"objects": found} if found else {}).encode(), {}

    def _objects(self, query: dict[str, list[str]]) -> tuple[int, bytes, dict[str, str]]:
        after = query.get("added_after", [""])[0]
        types = query.get("match[type]", [""])[0].split(",")
        start = int(query.get("next", ["0"])[0])
        limit = min(self.page, int(query.get("limit", ["1000"])[0]))
        listed = [pair for pair in self.objects if pair[0] > after]
        listed = [pair for pair in listed if types == [""] or pair[1].get("type") in types]
        page = listed[start : start + limit]
        more = start + limit < len(listed)
        body: dict[str, Any] = {self.list_name: [one for _, one in page]} if page else {}
        if more:
            body["more"] = True
            if self.marks:
                body["next"] = str(start + limit)
        moments = {"First": page[0][0], "Last": page[-1][0]} if page else {}
        return 200, json.dumps(body).encode(), {
            f"X-TAXII-Date-Added-{which}": moment for which, moment in moments.items()
        }  # fmt: skip


def basic(user: str, password: str) -> str:
    """The header of a basic login."""
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"
