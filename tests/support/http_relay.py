"""An HTTP server between a program and a web service that spoils answers, not the service.

So faults of a network, and of a server in front, can be had with a service that one does not
administer. It listens on 127.0.0.1 without TLS and asks the service itself.
"""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Self
from urllib.parse import urlsplit

import requests

_PASSED_ON = ("Content-Type", "Date", "Location", "Retry-After", "X-Rate-Limit-Reset")
_PASSED_ON_TOO = ("X-Result-Count", "X-Skipped-Elements-Count")
_TIMEOUT_SECONDS = 120


class Canned(NamedTuple):
    """An answer that the service has not given."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: str = "<h1>Out of order</h1>"


def _missing(path: str) -> Canned:
    """As a MISP answers."""
    body = json.dumps({"name": "Not Found", "message": "Not Found", "url": path})
    return Canned(404, (("Content-Type", "application/json"),), body)


class HttpRelay:
    """Passes requests on to a service.

    Args:
        target: the service's URL, with its path if it has one.
        verify: whom to trust: True, False, or a file with certificates.

    Attributes:
        url: for the program.
        paths: of the requests so far.
        canned: answers for the next requests, which are not passed on.
        missing: a part of a path that the service does not have, as it says in JSON; empty: none.
        most_bytes: what the body of a request may have, or it is answered 413; 0: any.
        lost: how many answers to requests with a part of a path are cut off in the middle,
            after the service has done what they ask for.
        spoiled: how often one of these was done.
    """

    def __init__(self, target: str, verify: bool | str) -> None:
        parts = urlsplit(target)
        self._origin = f"{parts.scheme}://{parts.netloc}"
        self._verify = verify
        self._lock = threading.Lock()
        self.paths: list[str] = []
        self.restore()
        self._http = _Http(("127.0.0.1", 0), _Handler)
        self._http.relay = self
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}{parts.path.rstrip('/')}"
        self._thread = threading.Thread(
            target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def restore(self) -> None:
        """Spoil nothing from now on."""
        self.canned: deque[Canned] = deque()
        self.missing = ""
        self.most_bytes = 0
        self.lost: dict[str, int] = {}
        self.spoiled = 0

    def spoil(self, canned: Iterable[Canned] = (), **lost: int) -> None:
        """Answer the next requests so; lose so many answers of others, by part of the path."""
        self.canned.extend(canned)
        self.lost.update(lost)

    def refused(self, path: str, size: int) -> Canned | None:
        """What is answered in the service's place."""
        with self._lock:
            self.paths.append(path)
            if self.canned:
                found = self.canned.popleft()
            elif self.missing and self.missing in path:
                found = _missing(self.missing)
            elif 0 < self.most_bytes < size:
                found = Canned(413)
            else:
                return None
            self.spoiled += 1
            return found

    def is_lost(self, path: str) -> bool:
        """Whether the answer to a request is cut off."""
        with self._lock:
            for part, left in self.lost.items():
                if part in path and left > 0:
                    self.lost[part] = left - 1
                    self.spoiled += 1
                    return True
            return False

    def ask(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> Any:
        """What the service answers."""
        return requests.request(
            method,
            self._origin + path,
            data=body,
            headers=headers,
            # Without it `requests` sends what ~/.netrc has in place of the key.
            auth=lambda request: request,
            verify=self._verify,
            allow_redirects=False,
            timeout=_TIMEOUT_SECONDS,
        )


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    relay: HttpRelay

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Programs that go away are killed on purpose."""


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
        relay = self.server.relay
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        if len(body) < length:
            # The program was killed as it sent: half a request is not passed on as a whole one.
            self.close_connection = True
            return
        if canned := relay.refused(self.path, len(body)):
            headers = {"Content-Type": "text/html", **dict(canned.headers)}
            self._send(canned.status, headers, canned.body.encode())
            return
        names = ("Authorization", "Accept", "Content-Type", "User-Agent")
        passed = {name: self.headers[name] for name in names if name in self.headers}
        try:
            answer = relay.ask(self.command, self.path, body, passed)
        except requests.RequestException:
            self._send(502, {"Content-Type": "text/html"}, b"<h1>Bad Gateway</h1>")
            return
        told = (*_PASSED_ON, *_PASSED_ON_TOO)
        found = {name: answer.headers[name] for name in told if name in answer.headers}
        self._send(answer.status_code, found, answer.content, cut=relay.is_lost(self.path))

    def _send(
        self, status: int, headers: dict[str, str], body: bytes, *, cut: bool = False
    ) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with suppress(OSError):
            self.wfile.write(body[: len(body) // 2] if cut else body)
            self.wfile.flush()
        self.close_connection = self.close_connection or cut
