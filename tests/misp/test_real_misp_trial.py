"""The trial with a MISP of one's own, against the simulated one: it passes, and it can fail."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from support.certificates import self_signed
from support.http_relay import HttpRelay
from support.misp import Facts, MispServer, Role
from support.waiting import wait_until

pytestmark = pytest.mark.slow

TRIAL = Path(__file__).parents[1] / "trials" / "real_misp.py"
FEW = ("--events", "2", "--attributes", "6", "--kills", "2", "--seed", "3")


@pytest.fixture
def server() -> Iterator[MispServer]:
    with MispServer(path="/misp") as made:
        made.misp.add_event("of others", [("domain", "theirs.example")], org="OTHER")
        made.misp.add_event("ours, too", [("domain", "ours.example")])
        made.keys["read-only"] = Role(read_only=True)
        yield made


def command(server: MispServer, folder: Path, *more: str) -> list[str | Path]:
    for name, key in (("key", server.key), ("read-only", "read-only")):
        (folder / name).write_text(key)
    return [
        sys.executable, TRIAL, "--url", server.url, "--key-file", folder / "key",
        "--json", folder / "result.json", *FEW, *more,
    ]  # fmt: skip


def tried(
    server: MispServer, folder: Path, *more: str, status: int = 0
) -> tuple[str, dict[str, Any]]:
    done = subprocess.run(
        command(server, folder, *more),
        capture_output=True, text=True, timeout=300, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == status, done.stdout + done.stderr
    result = folder / "result.json"
    return done.stdout, json.loads(result.read_text()) if result.exists() else {}


def is_as_before(server: MispServer) -> bool:
    return {e.info for e in server.misp.events.values()} == {"of others", "ours, too"}


def test_all_is_as_it_should_be_and_nothing_is_left(server: MispServer, tmp_path: Path) -> None:
    more = ("--read-only-key-file", str(tmp_path / "read-only"), "--yes")
    said, result = tried(server, tmp_path, *more)
    assert {step["result"] for step in result["steps"]} == {"ok"}, said
    assert result["not removed"] == []
    assert is_as_before(server)
    assert not server.tags()
    assert server.key not in said
    # Others' events are never named in a request that changes something.
    changing = [p for p, _ in server.requests if "/events/delete" in p or "/edit" in p]
    assert changing
    assert not any(p.endswith(("/1", "/2")) for p in changing)


@pytest.mark.parametrize(
    ("fact", "step"),
    [
        ("bulk_skips_known_uuids", "lost answers"),
        ("bulk_takes_soft_deleted", "deleted ones among good ones"),
        ("from_and_to_are_taken", "add_sighting"),
        ("ids_are_numbers", "add_sighting"),
        ("bounds_are_inclusive", "add_sighting"),
    ],
)
def test_misp_that_does_otherwise_fails_it(
    server: MispServer, tmp_path: Path, fact: str, step: str
) -> None:
    server.facts = replace(Facts(), **{fact: False})
    said, _ = tried(server, tmp_path, "--yes", "--only", step, status=1)
    assert f"FAILED    {step}: " in said
    assert is_as_before(server)


def test_misp_that_keeps_what_was_deleted_for_good_fails_it(
    server: MispServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server.misp, "delete_object", lambda *_: None)
    more = ("--yes", "--only", "object deleted for good")
    said, _ = tried(server, tmp_path, *more, status=1)
    assert "2 are there that should not be" in said
    assert is_as_before(server)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_was_made_is_removed_after_an_interrupt(
    server: MispServer, tmp_path: Path, number: signal.Signals
) -> None:
    process = subprocess.Popen(command(server, tmp_path, "--yes"), stdout=subprocess.PIPE)
    try:
        wait_until(lambda: len(server.misp.events) > 4, "some events")
        process.send_signal(number)
        said, _ = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 1
    assert b"interrupted" in said
    assert is_as_before(server)


@pytest.mark.parametrize("trust", ["--ca-file", "--no-verify"])
def test_misp_with_a_certificate_of_its_own(tmp_path: Path, trust: str) -> None:
    pair = self_signed(tmp_path)
    with MispServer(tls=pair) as server:
        more = ("--yes", "--only", "object deleted for good", "--only", "lost answers")
        given = (trust, pair[0]) if trust == "--ca-file" else (trust,)
        said, _ = tried(server, tmp_path, *more, *given)
        assert said.count("ok   ") == 3
        made = len(server.requests)
        said, _ = tried(server, tmp_path, "--yes", status=77)
        assert "certificate" in said
        assert len(server.requests) == made


def test_nothing_is_done_that_was_not_confirmed(server: MispServer, tmp_path: Path) -> None:
    said, _ = tried(server, tmp_path, status=77)
    assert "not confirmed" in said
    assert "reader@misp.example, role Reader, organisation ORG" in said
    assert is_as_before(server)


def test_nothing_is_done_where_the_tag_is_there(server: MispServer, tmp_path: Path) -> None:
    server.misp.add_event("one more", [], tags=['inkgate:trial="again"'], publish=False)
    said, _ = tried(server, tmp_path, "--yes", "--name", "again", status=77)
    assert "1 events have the tag" in said
    assert len(server.misp.events) == 3


def test_nothing_is_done_with_a_key_that_may_not(server: MispServer, tmp_path: Path) -> None:
    server.keys[server.key] = Role(read_only=True)
    said, _ = tried(server, tmp_path, "--yes", status=77)
    assert "lacks perm_add, perm_modify" in said


def test_dry_run_asks_the_misp_nothing(server: MispServer, tmp_path: Path) -> None:
    said, _ = tried(server, tmp_path, "--dry-run", "--only", "report", "--only", "merged events")
    assert not server.requests
    for path in ("/events/add", "/events/merge", "/sightings/bulkSaveSightings"):
        assert f"x {path}" in said
    assert "is not asked" in said


def test_without_a_url_it_is_left_out() -> None:
    done = subprocess.run([sys.executable, TRIAL], capture_output=True, text=True, check=False)
    assert done.returncode == 77
    assert "no --url" in done.stdout


def test_relay_passes_on_no_half_of_a_request(server: MispServer) -> None:
    """A reporter is killed at any moment."""
    head = f"POST /misp/events/add HTTP/1.1\r\nAuthorization: {server.key}\r\n"
    with HttpRelay(server.url, True) as relay:
        port = urlsplit(relay.url).port or 0
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(f'{head}Content-Length: 40\r\n\r\n{{"Event": {{}}}}'.encode())
            client.shutdown(socket.SHUT_WR)
            assert client.recv(100) == b""
    assert is_as_before(server)
    assert not server.requests
