"""MISP feeds from a folder and from a web server, sound and hostile ones."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
import time
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
from support.installation import BIN, Installation, attribute
from support.misp.server import wrap_tls
from support.waiting import wait_until


class FeedServer:
    """A web server whose files are in memory; notes what was asked for.

    Attributes:
        redirects: where it sends who asks for a file.
        together: how many requests for events wait for each other.
        most: how many requests there were at once.
        pause: seconds before each answer.
        stuck_after: so many requests are answered, later ones not before `release`.
    """

    def __init__(self, tls: tuple[str, str] | None = None) -> None:
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.redirects: dict[str, str] = {}
        self.together = self.most = self._now = 0
        self.pause = 0.0
        self.stuck_after: int | None = None
        self._released = threading.Event()
        self._changed = threading.Condition()
        served = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                name = self.path.removeprefix("/feed/")
                served.asked.append(name)
                served._wait(name)
                data = served.files.get(name)
                if name in served.redirects:
                    self.send_response_only(302)
                    self.send_header("Location", served.redirects[name])
                else:
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
        self.port = int(self._http.server_address[1])
        self.url = f"{scheme}://127.0.0.1:{self.port}/feed/"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def release(self) -> None:
        """Answer all requests from now on."""
        self.stuck_after = None
        self._released.set()

    def _wait(self, name: str) -> None:
        time.sleep(self.pause)
        if self.stuck_after is not None and len(self.asked) > self.stuck_after:
            self._released.wait(60)
        if name == "manifest.json":
            return
        with self._changed:
            self._now += 1
            self.most = max(self.most, self._now)
            self._changed.notify_all()
            self._changed.wait_for(lambda: self.most >= self.together, 10)
            self._now -= 1

    def close(self) -> None:
        self.release()
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


def read(
    tmp_path: Path,
    location: str,
    *,
    seconds: float = 60.0,
    may_be_empty: bool = False,
    **more: object,
) -> tuple[list[str], list[Unreadable]]:
    """Values, sorted, and faults, as a refresh would see them."""
    faults: list[Unreadable] = []
    copies = LastGood(tmp_path / "copies", may_be_empty=may_be_empty)
    settings = FeedSettings(location, **more)  # type: ignore[arg-type]
    mirror = tmp_path / "mirror"
    feed = Feed(settings, tmp_path, mirror, copies, seconds=seconds, may_be_empty=may_be_empty)
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
        assert "that is not trusted" in str(fault)
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


@pytest.mark.parametrize(
    "manifest",
    [
        b"{}",
        b"[]",
        b"null",
        b"<html>Log in</html>",
        b'{"00000000-0000-4000-8000-000000000000": {}}',
    ],
)
@pytest.mark.parametrize("where", ["web", "folder"])
def test_feed_that_has_lost_most_of_its_events_is_doubted(
    tmp_path: Path, server: FeedServer, manifest: bytes, where: str
) -> None:
    names = [server.add(f"n{n}.example") for n in range(3)]
    folder = tmp_path / "feed"
    folder.mkdir()
    for file, data in server.files.items():
        (folder / file).write_bytes(data)
    location = server.url if where == "web" else "feed"
    wanted = [f"n{n}.example" for n in range(3)]
    assert read(tmp_path, location) == (wanted, [])
    server.files["manifest.json"] = manifest
    (folder / "manifest.json").write_bytes(manifest)
    for _ in range(2):
        values, (fault,) = read(tmp_path, location)
        assert values == wanted
        assert "manifest.json: " in str(fault)
    if where == "web":
        assert all((tmp_path / "mirror" / f"{name}.json").exists() for name in names)
    if manifest == b"{}":
        assert "had 3 events and has 0" in str(fault)
        assert read(tmp_path, location, may_be_empty=True) == ([], [])
        assert read(tmp_path, location) == ([], [])


def test_feed_that_names_others_which_are_not_there_is_doubted(
    tmp_path: Path, server: FeedServer
) -> None:
    for n in range(3):
        server.add(f"n{n}.example")
    wanted, _ = read(tmp_path, server.url)
    server.files["manifest.json"] = b"{}"
    server.list(**{f"00000000-0000-4000-8000-00000000000{n}": 1 for n in range(9)})
    for _ in range(2):
        values, faults = read(tmp_path, server.url)
        assert values == wanted
        assert "had 3 events and has 0" in str(faults[-1])


def test_folder_that_is_gone_keeps_its_last_good_reading(
    tmp_path: Path, server: FeedServer
) -> None:
    name = server.add("a.example")
    folder = tmp_path / "feed"
    folder.mkdir()
    for file, data in server.files.items():
        (folder / file).write_bytes(data)
    assert read(tmp_path, "feed") == (["a.example"], [])
    (folder / "manifest.json").unlink()
    (folder / f"{name}.json").unlink()
    values, faults = read(tmp_path, "feed")
    assert values == ["a.example"]
    assert faults


def test_folder_with_many_events_that_is_gone_does_not_name_them_all(
    tmp_path: Path, server: FeedServer
) -> None:
    for n in range(20):
        server.add(f"a{n}.example")
    folder = tmp_path / "feed"
    folder.mkdir()
    for file, data in server.files.items():
        (folder / file).write_bytes(data)
    read(tmp_path, "feed")
    folder.rename(tmp_path / "away")
    values, faults = read(tmp_path, "feed")
    assert len(values) == 20
    # The manifest, ten events, and how many more there are.
    assert len(faults) == 12


def test_event_that_is_suddenly_empty_is_doubted(tmp_path: Path, server: FeedServer) -> None:
    name = server.add("a.example")
    read(tmp_path, server.url)
    server.add(name=name, timestamp=2)
    values, (fault,) = read(tmp_path, server.url)
    assert values == ["a.example"]
    assert "has no attributes and had some before" in str(fault)
    assert read(tmp_path, server.url, may_be_empty=True) == ([], [])


def test_damaged_event_of_the_mirror_is_downloaded_again(
    tmp_path: Path, server: FeedServer
) -> None:
    name = server.add("a.example")
    read(tmp_path, server.url)
    (tmp_path / "mirror" / f"{name}.json").write_bytes(b"{")
    assert len(read(tmp_path, server.url)[1]) == 1
    assert read(tmp_path, server.url) == (["a.example"], [])


def test_events_are_downloaded_several_at_a_time_and_in_order(
    tmp_path: Path, server: FeedServer
) -> None:
    names = [server.add(f"n{n}.example") for n in range(40)]
    for name in names[::4]:
        del server.files[f"{name}.json"]
    server.together = 4
    values, faults = read(tmp_path, server.url, connections=4)
    assert server.most == 4
    assert values == sorted(f"n{n}.example" for n in range(40) if n % 4)
    # All of them counted, the first ten by name in the manifest's order.
    assert [fault.path.stem for fault in faults[:10]] == names[::4]
    assert len(faults) == 10
    for name in names:
        server.files.pop(f"{name}.json", None)
        server.list(**{name: 2})
    values, faults = read(tmp_path, server.url)
    assert len(values) == 30
    assert len(faults) == 11
    assert "30 more events failed" in str(faults[-1])


def test_deadline_in_the_middle_of_a_feed_goes_on_next_time(
    tmp_path: Path, server: FeedServer
) -> None:
    names = [server.add(f"n{n}.example") for n in range(30)]
    server.pause = 0.1
    values, faults = read(tmp_path, server.url, connections=1, seconds=1.0)
    assert 0 < len(values) < 30
    assert any("were not there within 1 s" in str(fault) for fault in faults)
    server.pause = 0.0
    server.asked.clear()
    assert read(tmp_path, server.url) == (sorted(f"n{n}.example" for n in range(30)), [])
    assert len(server.asked) == 1 + 30 - len(values)
    assert set(server.asked[1:]) < {f"{name}.json" for name in names}


@pytest.mark.slow
def test_interrupt_ends_a_download_at_once_and_keeps_what_is_there(
    installation: Installation, server: FeedServer
) -> None:
    names = [server.add(f"n{n}.example") for n in range(60)]
    server.stuck_after = 20
    text = installation.config.read_text().replace('sources = ["events"]\n', "")
    installation.config.write_text(
        f'{text}\n[[rules.sources]]\ntype = "feed"\nlocation = "{server.url}"\n'
    )
    command = [str(BIN / "inkgate-rules"), "--config", str(installation.config), "refresh"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    wait_until(lambda: len(server.asked) > 20, "downloads that wait")
    started = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=20)
    assert time.monotonic() - started < 5
    assert process.returncode != 0
    assert "Traceback" not in said
    server.release()
    server.asked.clear()
    done = installation.run("inkgate-rules", "refresh")
    assert done.returncode == 0, done.stderr
    assert len(server.asked) <= 1 + len(names) - 10


def test_redirects_on_the_same_host_are_followed(tmp_path: Path, server: FeedServer) -> None:
    name = server.add("a.example")
    server.redirects = {"manifest.json": "/feed/moved.json", f"{name}.json": "./x.json"}
    server.files["moved.json"] = server.files.pop("manifest.json")
    server.files["x.json"] = server.files.pop(f"{name}.json")
    assert read(tmp_path, server.url) == (["a.example"], [])


@pytest.mark.parametrize("target", ["http://127.0.0.1:{other}/x", "http://localhost:{own}/feed/x"])
def test_redirects_elsewhere_are_not_followed(
    tmp_path: Path, server: FeedServer, target: str
) -> None:
    other = FeedServer()
    try:
        server.add("a.example")
        read(tmp_path, server.url)
        location = target.format(other=other.port, own=server.port)
        server.redirects = {"manifest.json": location}
        values, (fault,) = read(tmp_path, server.url)
        assert values == ["a.example"]
        assert f"redirects to {location}, where inkgate does not follow" in str(fault)
        assert other.asked == []
    finally:
        other.close()


@pytest.mark.parametrize("setting", ["environment", "proxy", "no_proxy", "none"])
def test_proxy_of_the_environment_and_of_the_settings(
    tmp_path: Path, server: FeedServer, setting: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.add("a.example")
    proxy = FeedServer()
    # A proxy is asked with the whole address.
    proxy.files = {f"http://feed.invalid/feed/{n}": d for n, d in server.files.items()}
    address = f"http://127.0.0.1:{proxy.port}"
    for name in ("http_proxy", "HTTP_PROXY", "no_proxy", "NO_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    try:
        if setting == "proxy":
            found = read(tmp_path, "http://feed.invalid/feed/", proxy=address)
            assert found == (["a.example"], [])
            return
        monkeypatch.setenv("http_proxy", address)
        if setting == "environment":
            assert read(tmp_path, "http://feed.invalid/feed/") == (["a.example"], [])
            return
        if setting == "no_proxy":
            monkeypatch.setenv("no_proxy", "127.0.0.1")
        more = {"proxy": "none"} if setting == "none" else {}
        assert read(tmp_path, server.url, **more) == (["a.example"], [])
        assert proxy.asked == []
    finally:
        proxy.close()
