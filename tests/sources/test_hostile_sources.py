"""Servers that do their worst: a reading ends in time, and what was listed stays blocked."""

from __future__ import annotations

import json
import socket
import struct
import time
from pathlib import Path

import pytest

from inkgate.config.errors import Unreadable
from inkgate.misp import session as misp_session
from inkgate.rules.sources import feed_manifest, feed_mirror, mysql_connection
from inkgate.rules.sources.last_good import LastGood
from inkgate.rules.sources.misp_api import MispWebSettings
from inkgate.rules.sources.misp_feed import Feed, FeedSettings
from inkgate.rules.sources.misp_mysql import MispMysql
from inkgate.rules.sources.misp_web import MispWeb
from inkgate.rules.sources.mysql_session import MispMysqlSettings
from inkgate.rules.sources.readers import source_file
from inkgate.rules.sources.source import SourceContext
from support.hostile import (
    CASES,
    Act,
    HostileServer,
    answered,
    drips,
    event_of_nothings,
    floods,
    is_silent,
    manifest_of,
    sends,
)
from support.misp import MispServer
from support.misp.server import KEY
from support.squid import free_port

pytestmark = pytest.mark.slow

_SECONDS = 1.0
# Beyond the deadline: a loaded machine.
_GRACE = 4.0
_EVENT = "00000000-0000-4000-8000-000000000001"
_OTHER = "00000000-0000-4000-8000-000000000002"


@pytest.fixture(autouse=True)
def small_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """A 32nd of the real ones, so that reaching them takes no time."""
    monkeypatch.setattr(feed_mirror, "MAX_BYTES", 8 << 20)
    monkeypatch.setattr(feed_manifest, "MAX_BYTES", 4 << 20)
    monkeypatch.setattr(source_file, "MAX_PARTS", 100_000)
    monkeypatch.setattr(misp_session, "MAX_BYTES", 4 << 20)
    monkeypatch.setattr(misp_session, "MAX_PARTS", 100_000)
    monkeypatch.setattr(mysql_connection, "MAX_BYTES", 4 << 20)


def event(name: str, *values: str) -> bytes:
    attributes = [{"type": "domain", "value": value, "to_ids": True} for value in values]
    return json.dumps({"Event": {"uuid": name, "info": "x", "Attribute": attributes}}).encode()


def mirrored(folder: Path) -> None:
    """A mirror as a good reading has left it."""
    folder.mkdir()
    (folder / "manifest.json").write_bytes(manifest_of(_EVENT))
    (folder / f"{_EVENT}.json").write_bytes(event(_EVENT, "a.example"))


def read_feed(folder: Path, url: str, **more: object) -> tuple[list[str], list[Unreadable]]:
    """What a feed gives, and within which time."""
    settings = FeedSettings(url, **more)  # type: ignore[arg-type]
    copies = LastGood(folder / "copies")
    feed = Feed(settings, folder, folder / "mirror", copies, seconds=_SECONDS)
    faults: list[Unreadable] = []
    started = time.monotonic()
    values = sorted(a.value for a in feed.read(faults))
    assert time.monotonic() - started < _SECONDS + _GRACE
    return values, faults


@pytest.mark.parametrize("name", CASES)
def test_manifest_of_a_hostile_feed(tmp_path: Path, name: str) -> None:
    mirrored(tmp_path / "mirror")
    with HostileServer(CASES[name]) as server:
        values, faults = read_feed(tmp_path, server.url)
    assert values == ["a.example"]
    assert len(faults) == 1
    assert str(faults[0]).isprintable()
    assert (tmp_path / "mirror" / "manifest.json").read_bytes() == manifest_of(_EVENT)


def for_events(act: Act) -> Act:
    """A sound manifest that names another event, for which the server does its worst."""

    def chosen(connection: socket.socket) -> None:
        manifest = manifest_of(_EVENT, _OTHER)
        connection.sendall(answered(manifest))
        connection.recv(1 << 20)
        act(connection)

    return chosen


@pytest.mark.parametrize("name", CASES)
def test_event_of_a_hostile_feed(tmp_path: Path, name: str) -> None:
    mirrored(tmp_path / "mirror")
    with HostileServer(for_events(CASES[name])) as server:
        values, faults = read_feed(tmp_path, server.url, connections=1)
    assert values == ["a.example"]
    assert faults
    assert not list((tmp_path / "mirror").glob(".*part"))
    # What was not downloaded is asked for again.
    kept = json.loads((tmp_path / "mirror" / "manifest.json").read_bytes())
    assert kept[_OTHER]["timestamp"] is None


def test_small_event_that_is_large_in_memory_is_refused(tmp_path: Path) -> None:
    mirrored(tmp_path / "mirror")
    act = for_events(sends(answered(event_of_nothings(2_000_000))))
    with HostileServer(act) as server:
        values, (fault,) = read_feed(tmp_path, server.url, connections=1)
    assert values == ["a.example"]
    assert "more than 100,000 objects and lists" in str(fault)


@pytest.mark.parametrize("name", CASES)
def test_hostile_misp(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INKGATE_MISP_KEY", KEY)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    settings = MispWebSettings(url=url, retries=1, first_wait=0.01, timeout=60)
    with MispServer(port=port) as misp:
        misp.misp.add_event("made up", [("domain", "a.example")])
        found, faults = read_misp(tmp_path, settings, 60)
    assert (found, faults) == (["a.example"], [])
    with HostileServer(CASES[name], port):
        found, faults = read_misp(tmp_path, settings, _SECONDS)
    assert found == ["a.example"]
    assert len(faults) == 1
    assert str(faults[0]).isprintable()
    assert KEY not in str(faults[0])


def context_of(folder: Path) -> SourceContext:
    return SourceContext(folder, folder, LastGood(folder / "copies"))


def read_misp(
    folder: Path, settings: MispWebSettings, seconds: float
) -> tuple[list[str], list[Unreadable]]:
    faults: list[Unreadable] = []
    started = time.monotonic()
    source = MispWeb(settings, context_of(folder)._replace(seconds=seconds))
    values = [a.value for a in source.read(faults)]
    assert time.monotonic() - started < seconds + _GRACE
    return values, faults


def test_misp_that_has_suddenly_no_events_is_doubted(tmp_path: Path) -> None:
    with MispServer() as server:
        key_file = tmp_path / "key"
        key_file.touch(mode=0o600)
        key_file.write_text(server.key)
        settings = MispWebSettings(url=server.url, key_file=str(key_file))
        for n in range(3):
            server.misp.add_event("made up", [("domain", f"n{n}.example")])
        assert len(read_misp(tmp_path, settings, 60)[0]) == 3
        server.misp.events.clear()
        found, (fault,) = read_misp(tmp_path, settings, 60)
        assert len(found) == 3
        assert "had 3 events and has 0" in str(fault)
        source = MispWeb(settings, context_of(tmp_path)._replace(may_be_empty=True))
        faults: list[Unreadable] = []
        assert (list(source.read(faults)), faults) == ([], [])


def packet(number: int, body: bytes) -> bytes:
    """One of MySQL's."""
    return struct.pack("<I", len(body))[:3] + bytes([number]) + body


GREETING = packet(
    0,
    b"\x0a8.0.0\x00"
    b"\x01\x00\x00\x00"
    + b"x" * 8
    + b"\x00"
    + b"\xff\xf7\x2d\x02\x00\xff\x81\x15"
    + b"\x00" * 10
    + b"x" * 12
    + b"\x00mysql_native_password\x00",
)
OK = b"\x00\x00\x00\x02\x00\x00\x00"


def after_login(act: Act) -> Act:
    """Takes any password, and does its worst from the first statement on."""

    def chosen(connection: socket.socket) -> None:
        connection.sendall(GREETING)
        connection.recv(1 << 16)
        connection.sendall(packet(2, OK))
        # SET NAMES, and SET AUTOCOMMIT.
        for _ in range(2):
            connection.recv(1 << 16)
            connection.sendall(packet(1, OK))
        connection.recv(1 << 16)
        act(connection)

    return chosen


COLUMN = b"\x03def" + b"\x00" * 5 + b"\x0c\x21\x00\xff\x00\x00\x00\xfd\x00\x00\x00\x00\x00"
EOF = b"\xfe\x00\x00\x02\x00"
ROW = b"\xfc\x00\x40" + b"x" * 0x4000
ROWS = b"".join(packet((4 + n) % 256, ROW) for n in range(256))
MYSQL = {
    "silent": (is_silent, "within 1 s"),
    "slow-greeting": (drips(packet(0, b"x" * 60_000)[:4], b"\x0a"), "within 1 s"),
    "slow-answer": (after_login(drips(packet(1, b"x" * 60_000)[:4])), "within 1 s"),
    "endless-rows": (
        after_login(floods(packet(1, b"\x01") + packet(2, COLUMN) + packet(3, EOF), ROWS)),
        "more than 4 MiB",
    ),
    "huge-packet": (
        after_login(floods(b"\xff\xff\xff\x01" + b"x" * 0xFFFFFF, b"x")),
        "more than 4 MiB",
    ),
    "length-too-long": (after_login(sends(b"\xff\xff\x00\x01xx")), "broke off"),
    "no-mysql": (sends(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "fails with"),
    "old-greeting": (sends(packet(0, b"\x09" + b"\xff" * 3)), "fails with"),
}


@pytest.mark.parametrize("name", MYSQL)
def test_hostile_database(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INKGATE_MYSQL_PASSWORD", "made-up")
    copies = LastGood(tmp_path / "copies")
    faults: list[Unreadable] = []
    act, problem = MYSQL[name]
    with HostileServer(act, asks=False) as server:
        settings = MispMysqlSettings(port=server.port)
        source = MispMysql(settings, tmp_path, copies, seconds=_SECONDS)
        started = time.monotonic()
        assert list(source.read(faults)) == []
        assert time.monotonic() - started < _SECONDS + _GRACE
    (fault,) = faults
    assert problem in str(fault)
    assert str(fault).isprintable()
    assert "made-up" not in repr(fault)
