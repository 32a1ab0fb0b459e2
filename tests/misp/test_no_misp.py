"""An address at which no MISP is: one line with the place and the remedy, and the right status."""

from __future__ import annotations

import re
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from inkgate.sightings.journal.journal import Journal
from support.installation import Installation, attribute
from support.reporting import sighting

pytestmark = pytest.mark.slow

PAGE = b"<!DOCTYPE html><html><body>Welcome to the intranet</body></html>\n"
# What the server does, and what is said of it.
ANSWERS = {
    "html": (200, {}, "not as a MISP"),
    "missing": (404, {}, "status 404"),
    "login": (302, {"Location": "/users/login?next=secret"}, "redirects to "),
    "forbidden": (403, {}, "40"),
}


@contextmanager
def web_server(status: int, fields: dict[str, str]) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(status)
            for name, value in {"Content-Type": "text/html", **fields}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(PAGE)))
            self.end_headers()
            self.wfile.write(PAGE)

        do_GET = do_POST = _answer  # noqa: N815 (names that http.server looks for)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def source(kind: str, url: str) -> str:
    place = "url" if kind == "misp-web" else "location"
    more = ', key_variable = "INKGATE_NO_KEY"' if kind == "misp-web" else ""
    return f'sources = ["events", {{type = "{kind}", {place} = "{url}"{more}}}]'


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("kind", ["misp-web", "feed"])
@pytest.mark.parametrize("others", [True, False])
def test_source(
    installation: Installation,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    answer: str,
    others: bool,
) -> None:
    monkeypatch.setenv("INKGATE_NO_KEY", "k" * 40)
    status, fields, said = ANSWERS[answer]
    if others:
        installation.add("listed", attribute("domain", "listed.example"))
    with web_server(status, fields) as url:
        installation.configure(source(kind, url))
        done = installation.run("inkgate-rules", "refresh")
    # 1: done, but a source could not be read; 2: nothing was changed.
    assert done.returncode == (1 if others else 2), done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert url.removeprefix("http://") in done.stderr
    assert "; " in done.stderr
    assert "secret" not in done.stderr
    if kind == "misp-web":
        assert said in done.stderr


@pytest.mark.parametrize("answer", ANSWERS)
def test_report(installation: Installation, monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
    monkeypatch.setenv("INKGATE_NO_KEY", "k" * 40)
    status, fields, said = ANSWERS[answer]
    journal = Journal(installation.folder / "run/sightings.db")
    journal.append([sighting([str(uuid.uuid4())])])
    journal.close()
    with web_server(status, fields) as url, installation.config.open("a") as file:
        file.write(f'[sightings.misp]\nurl = "{url}"\nkey_variable = "INKGATE_NO_KEY"\n')
        file.write("attempts = 1\nfirst_wait = 0.01\n")
        file.flush()
        done = installation.run("inkgate-sightings", "report")
    # A MISP under maintenance answers like this, too: the sightings wait.
    assert done.returncode == 1, done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert said in done.stderr
    assert re.search("; .*(check|correct) url", done.stderr)
    assert "secret" not in done.stderr
