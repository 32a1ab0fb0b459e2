"""MISP feeds from a folder and from a web server, sound and hostile ones."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from inkgate.config.errors import Unreadable
from inkgate.rules.sources import feed_mirror
from inkgate.rules.sources.last_good import LastGood
from inkgate.rules.sources.misp_feed import Feed, FeedSettings
from support.certificates import self_signed
from support.installation import Installation, attribute
from support.misp.server import wrap_tls


class FeedServer:
    """A web server whose files are in memory; notes what was asked for."""

    def __init__(self, tls: tuple[str, str] | None = None) -> None:
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []
        served = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                name = self.path.removeprefix("/feed/")
                served.asked.append(name)
                data = served.files.get(name)
                self.send_response_only(200 if data is not None else 404)
                self.send_header("Content-Length", str(len(data or b"")))
                self.end_headers()
                self.wfile.write(data or b"")

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if tls:
            wrap_tls(self._http, tls)
        scheme = "https" if tls else "http"
        self.url = f"{scheme}://127.0.0.1:{self._http.server_address[1]}/feed/"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()

    def add(self, *values: str, name: str = "", timestamp: int = 1) -> str:
        """Add or replace an event; its name."""
        name = name or str(uuid.uuid4())
        event = {"uuid": name, "info": "made up", "date": "2026-01-01"}
        attributes = [attribute("domain", value) for value in values]
        self.files[f"{name}.json"] = json.dumps(
            {"Event": {**event, "Attribute": attributes}}
        ).encode()
        self.list(**{name: timestamp})
        return name

    def list(self, **more: int) -> None:
        """Add names to the manifest."""
        listed = json.loads(self.files.get("manifest.json", b"{}"))
        listed.update({name: {"timestamp": str(when)} for name, when in more.items()})
        self.files["manifest.json"] = json.dumps(listed).encode()


@pytest.fixture
def server() -> Iterator[FeedServer]:
    made = FeedServer()
    yield made
    made.close()


def read(tmp_path: Path, location: str, **more: str) -> tuple[list[str], list[Unreadable]]:
    """Values, sorted, and faults, as a refresh would see them."""
    faults: list[Unreadable] = []
    copies = LastGood(tmp_path / "copies")
    feed = Feed(FeedSettings(location, **more), tmp_path, tmp_path / "mirror", copies)
    return sorted(a.value for a in feed.read(faults)), faults


def test_only_changed_events_are_downloaded(tmp_path: Path, server: FeedServer) -> None:
    first, second = server.add("a.example"), server.add("b.example", "c.example")
    assert read(tmp_path, server.url) == (["a.example", "b.example", "c.example"], [])
    assert sorted(server.asked) == sorted(["manifest.json", f"{first}.json", f"{second}.json"])
    server.asked.clear()
    assert read(tmp_path, server.url)[0] == ["a.example", "b.example", "c.example"]
    assert server.asked == ["manifest.json"]
    server.asked.clear()
    server.add("d.example", name=second, timestamp=2)
    assert read(tmp_path, server.url) == (["a.example", "d.example"], [])
    assert server.asked == ["manifest.json", f"{second}.json"]
    server.files["manifest.json"] = json.dumps({second: {"timestamp": "2"}}).encode()
    assert read(tmp_path, server.url) == (["d.example"], [])
    assert not (tmp_path / "mirror" / f"{first}.json").exists()


def test_event_that_is_not_there_costs_no_other(tmp_path: Path, server: FeedServer) -> None:
    server.list(**{"00000000-0000-4000-8000-000000000000": 1})
    server.add("a.example")
    values, faults = read(tmp_path, server.url)
    assert values == ["a.example"]
    assert "000000000000.json: cannot be downloaded (status 404)" in str(faults[0])
    missing = server.add("b.example", name="00000000-0000-4000-8000-000000000000")
    server.asked.clear()
    assert read(tmp_path, server.url) == (["a.example", "b.example"], [])
    assert server.asked == ["manifest.json", f"{missing}.json"]


def test_truncated_event_keeps_its_last_good_reading(tmp_path: Path, server: FeedServer) -> None:
    name = server.add("a.example")
    read(tmp_path, server.url)
    server.add("b.example", name=name, timestamp=2)
    whole = server.files[f"{name}.json"]
    server.files[f"{name}.json"] = whole[:-9]
    values, (fault,) = read(tmp_path, server.url)
    assert values == ["a.example"]
    assert f"/feed/{name}.json: is cut off" in str(fault)
    server.files[f"{name}.json"] = whole
    assert read(tmp_path, server.url) == (["b.example"], [])


@pytest.mark.parametrize("bad", [b"", b"[]", b"{", b'{"a": 1}', b"\xff", b"[" * 100_000])
def test_bad_manifest_leaves_what_was_read(tmp_path: Path, server: FeedServer, bad: bytes) -> None:
    server.add("a.example")
    read(tmp_path, server.url)
    server.files["manifest.json"] = bad
    values, faults = read(tmp_path, server.url)
    assert (values, len(faults)) == (["a.example"], 1)
    del server.files["manifest.json"]
    values, (fault,) = read(tmp_path, server.url)
    assert values == ["a.example"]
    assert "status 404" in str(fault)


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "..%2foutside", "a", ""])
def test_path_like_names_in_a_manifest_are_refused(
    tmp_path: Path, server: FeedServer, name: str
) -> None:
    server.add("a.example")
    server.list(**{name: 1})
    server.files[f"{name}.json"] = b"{}"
    before = {path for path in tmp_path.parent.rglob("*") if "mirror" not in str(path)}
    values, faults = read(tmp_path, server.url)
    assert values == ["a.example"]
    assert "names 1 events by something that is no UUID" in str(faults[0])
    assert len(server.asked) == 2
    after = {path for path in tmp_path.parent.rglob("*") if "mirror" not in str(path)}
    assert {path.name for path in after - before} <= {"copies"} | {
        path.name for path in (tmp_path / "copies").iterdir()
    }


def test_oversized_download_is_refused(
    tmp_path: Path, server: FeedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_mirror, "MAX_BYTES", 1 << 20)
    server.add("a.example")
    big = server.add("b.example")
    server.files[f"{big}.json"] = b" " * (1 << 20) + server.files[f"{big}.json"]
    values, (fault,) = read(tmp_path, server.url)
    assert values == ["a.example"]
    assert "is larger than 1 MiB" in str(fault)
    assert not list((tmp_path / "mirror").glob(".*part"))


def test_password_in_the_address_is_not_told(tmp_path: Path, server: FeedServer) -> None:
    location = server.url.replace("http://", "http://user:made-up-password@")
    _, faults = read(tmp_path, location)
    assert faults
    assert "made-up-password" not in "".join(map(repr, faults))


@pytest.mark.slow
def test_server_that_is_down_leaves_the_last_reading(tmp_path: Path, server: FeedServer) -> None:
    server.add("a.example")
    read(tmp_path, server.url)
    server.close()
    values, (fault,) = read(tmp_path, server.url)
    assert values == ["a.example"]
    assert "manifest.json: cannot be downloaded (ConnectionError)" in str(fault)


def test_tls_is_verified_unless_its_ca_is_named(tmp_path: Path) -> None:
    pair = self_signed(tmp_path)
    server = FeedServer(tls=pair)
    try:
        server.add("a.example")
        values, (fault, *_) = read(tmp_path, server.url)
        assert values == []
        assert "SSLError" in str(fault)
        assert read(tmp_path, server.url, ca_file=pair[0]) == (["a.example"], [])
    finally:
        server.close()


def test_feed_in_a_folder(tmp_path: Path, server: FeedServer) -> None:
    folder = tmp_path / "feed"
    folder.mkdir()
    name = server.add("a.example")
    for file, data in server.files.items():
        (folder / file).write_bytes(data)
    unlisted = folder / "00000000-0000-4000-8000-000000000000.json"
    unlisted.write_bytes(server.files[f"{name}.json"].replace(b"a.example", b"b.example"))
    assert read(tmp_path, "feed") == (["a.example"], [])
    path = folder / f"{name}.json"
    path.write_bytes(path.read_bytes()[:-5])
    values, (fault,) = read(tmp_path, "feed")
    assert (values, "is cut off" in str(fault)) == (["a.example"], True)


@pytest.mark.slow
def test_feed_from_the_settings(installation: Installation, server: FeedServer) -> None:
    server.add("listed.example")
    text = installation.config.read_text().replace('sources = ["events"]\n', "")
    installation.config.write_text(
        f'{text}\n[[rules.sources]]\ntype = "feed"\nlocation = "{server.url}"\n'
    )
    done = installation.run("inkgate-rules", "refresh")
    assert done.returncode == 0, done.stderr
    assert installation.run("inkgate-rules", "match", "domain=listed.example").returncode == 0
