"""Text of others never reaches a terminal or a log with its escape sequences."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import suppress

import pytest

from support.hostile import HostileServer, sends
from support.installation import BIN, Installation, attribute
from support.misp import MispServer
from support.squid import free_port

pytestmark = pytest.mark.slow

# CSI and OSC in both spellings, a C1 of its own, backspaces, lines forged, writing reversed,
# and what has no width: each of them stands around a word that a reader would look for.
HOSTILE = (
    "planted\x1b[2J\x1b]0;title\x07\x9b31m\x9d8;;http://x.example\x9c\x85\x08\x08\r\n"
    "inkgate: all is well\u2028\u202e\u2066\u200b\u061c\ufeff"
)
_NAME = str(uuid.uuid4())
_COMMANDS = (
    ("inkgate-rules", "refresh"),
    ("inkgate-rules", "refresh", "--quiet"),
    ("inkgate-rules", "publish", "--for", "other"),
    ("inkgate-rules", "inspect"),
    ("inkgate-rules", "inspect", "--json"),
    ("inkgate-rules", "match", "domain=listed.example"),
    ("inkgate-rules", "match", "--json", "domain=listed.example"),
    ("inkgate-rules", "match", f"domain=listed.example{HOSTILE}"),
    ("inkgate-rules", "match", f"{HOSTILE}=listed.example"),
    ("inkgate-rules", "match", "--sightings", "access.log"),
    ("inkgate-rules", "match", "--json", "access.log"),
    ("inkgate-rules", "audit"),
    ("inkgate-sightings", "list"),
    ("inkgate-sightings", "list", "--json"),
    ("inkgate-sightings", "show", "{incident}"),
    ("inkgate-sightings", "show", "--json", "{incident}"),
    ("inkgate-sightings", "show", HOSTILE),
    ("inkgate-sightings", "report"),
    ("inkgate-sightings", "refused"),
    ("inkgate-sightings", "refused", "--json"),
    ("inkgate-sightings", "retry", HOSTILE),
    ("inkgate-sightings", "status"),
    ("inkgate-sightings", "status", "--json"),
    ("inkgate-sightings", "false-positive", "{incident}"),
    ("inkgate-sightings", "prune"),
    ("inkgate", "status"),
    ("inkgate", "status", "--json"),
)


def told(installation: Installation, *command: str, terminal: bool) -> str:
    """All that a command prints, to a terminal or to pipes."""
    arguments = [str(BIN / command[0]), "--config", str(installation.config), *command[1:]]
    if not terminal:
        done = subprocess.run(
            arguments,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=installation.folder,
            timeout=120,
            check=False,
        )
        return done.stdout.decode()
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        arguments,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=installation.folder,
        env={**os.environ, "COLUMNS": "300", "TERM": "xterm"},
    )
    os.close(theirs)
    said = b""
    with suppress(OSError):
        while data := os.read(ours, 1 << 16):
            said += data
    os.close(ours)
    process.wait(120)
    return said.decode()


def check(said: str, command: tuple[str, ...]) -> None:
    """None of the hostile sequences is in a text; those of our own tables and bars may be."""
    for part in ("\x1b[2J\x1b]", "\x1b]", "\x07", "\x08", "\x0b", "\x85", "\ninkgate: all is well"):
        assert part not in said, (command, part)
    assert not [c for c in said if "\x80" <= c <= "\x9f"], command
    assert not [c for c in said if c in "\u2028\u202e\u2066\u200b\u061c\ufeff"], command


@pytest.fixture
def hostile(installation: Installation) -> Iterator[tuple[Installation, MispServer]]:
    """An installation whose events, names of files, feeds and MISP are full of it."""
    event = {
        "id": f"7{HOSTILE}",
        "uuid": f"{uuid.uuid4()}{HOSTILE}",
        "info": HOSTILE,
        "date": f"2026-01-01{HOSTILE}",
        "Orgc": {"name": HOSTILE},
        "Tag": [{"name": HOSTILE}],
    }
    common = {
        "uuid": f"{_NAME}{HOSTILE}",
        "to_ids": True,
        "category": HOSTILE,
        "comment": HOSTILE,
        "object_relation": HOSTILE,
        "timestamp": f"1767225600{HOSTILE}",
        "last_seen": HOSTILE,
        "Tag": [{"name": HOSTILE}],
    }
    attributes = [
        {**common, "type": "domain", "value": "listed.example"},
        {**common, "type": "domain", "value": f"bad{HOSTILE}.example"},
        {**common, "type": "url", "value": f"http://a.example/{HOSTILE}"},
        {**common, "type": f"domain{HOSTILE}", "value": "b.example"},
        {**common, "type": HOSTILE, "value": "c.example"},
        {**common, "type": "ip-dst", "value": HOSTILE},
        {**common, "type": "domain", "value": "d.example", "to_ids": HOSTILE},
    ]
    text = json.dumps({"Event": {**event, "Attribute": attributes}})
    (installation.events / "event.json").write_text(text)
    feed = installation.folder / "feed"
    feed.mkdir()
    (feed / "manifest.json").write_text(json.dumps({_NAME: {"timestamp": HOSTILE}, HOSTILE: {}}))
    (feed / f"{_NAME}.json").write_text(text)
    for name in (f"list{HOSTILE.replace('/', '')[:60]}.txt", f"{HOSTILE[:12]}.json"):
        (installation.events / name).write_text(f"e.example\n{HOSTILE}\n")
    installation.configure(
        'message = ["uuid", "event_id", "event_uuid", "event_info", "date", "type", "category", '
        '"comment", "timestamp", "org", "source", "warninglist"]\n'
        'sources = ["events", {type = "feed", location = "feed"}, '
        f'{{type = "misp-web", url = "http://127.0.0.1:{(port := free_port())}", '
        'key_file = "misp.key", retries = 0}]'
    )
    (installation.folder / "other.token").write_text("o" * 32)
    with MispServer(port=port) as server:
        (installation.folder / "misp.key").write_text(server.key)
        with installation.config.open("a") as file:
            file.write(f'[sightings.misp]\nurl = "{server.url}"\nkey_file = "misp.key"\n')
            file.write('[rules.subscribers.other]\ntoken_file = "other.token"\n')
        server.misp.add_event(HOSTILE, [("domain", "f.example")])
        server.misp.add_event(HOSTILE, [(HOSTILE, "g.example")])
        (installation.folder / "access.log").write_text(
            "1767225600.000 5 192.0.2.1 TCP_MISS/200 9 GET http://listed.example/ - "
            f"HIER_DIRECT/192.0.2.9 -\n{HOSTILE}\n"
        )
        yield installation, server


@pytest.mark.parametrize("terminal", [False, True], ids=["pipes", "terminal"])
def test_no_command_passes_escape_sequences_on(
    hostile: tuple[Installation, MispServer], terminal: bool
) -> None:
    installation, _ = hostile
    planted = 0
    for command in _COMMANDS:
        if any("{incident}" in word for word in command):
            listed = installation.run("inkgate-sightings", "list", "--json").stdout
            incident = json.loads(listed.splitlines()[0])["incident"]
            command = tuple(word.replace("{incident}", incident) for word in command)  # noqa: PLW2901
        said = told(installation, *command, terminal=terminal)
        assert "Traceback" not in said, (command, said)
        check(said, command)
        planted += "planted" in said
    # The words themselves are shown: otherwise this would test nothing.
    assert planted >= 8


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nno header \x1b[2J\x1b]0;x\x07\r\n\r\n\x1b[",
        b"HTTP/1.1 302 Found\r\nLocation: http://\x1b[2J\x9b31m\x07.example/\x08\r\n\r\n",
        b"HTTP/1.1 200 \x1b[2J\x1b]0;x\x07\r\nContent-Encoding: \x1b[2J\x07\r\n\r\n{}",
        b"\x1b[2J\x1b]0;planted\x07\r\n\r\n",
        b'HTTP/1.1 403 No\r\nContent-Type: application/json\r\n\r\n{"message": "\x9b2J\x1b[2J"}',
    ],
    ids=["header", "location", "coding", "status", "message"],
)
@pytest.mark.parametrize("kind", ["feed", "misp-web", "misp-mysql"])
def test_answer_of_a_hostile_server(
    installation: Installation, answer: bytes, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INKGATE_MISP_KEY", "k" * 40)
    monkeypatch.setenv("INKGATE_MYSQL_PASSWORD", "made-up")
    with HostileServer(sends(answer), asks=kind != "misp-mysql") as server:
        keys = {
            "feed": f'location = "{server.url}"',
            "misp-web": f'url = "{server.url}", retries = 0',
            "misp-mysql": f"port = {server.port}",
        }[kind]
        installation.configure(
            f'sources = ["events", {{type = "{kind}", {keys}}}]\nsource_seconds = 2'
        )
        installation.add("made-up", {**attribute("domain", "listed.example")})
        said = told(installation, "inkgate-rules", "refresh", terminal=False)
    assert "not read: " in said
    assert "Traceback" not in said
    check(said, ("refresh", kind))
    assert "\x1b" not in said
    check(told(installation, "inkgate", "status", terminal=True), ("status",))


def test_traceback_that_quotes_hostile_text() -> None:
    program = (
        "from inkgate.config.command import settings_group\n"
        "@settings_group({})\n"
        "def main(*_, **__): pass\n"
        "@main.command()\n"
        f"def broken(): raise RuntimeError({HOSTILE!r})\n"
        "main(['broken'])\n"
    )
    done = subprocess.run(
        [BIN / "python", "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert "planted" in done.stderr
    assert "Traceback" in done.stderr
    check(done.stderr, ("broken",))


def test_what_a_server_sends_in_its_place(hostile: tuple[Installation, MispServer]) -> None:
    installation, server = hostile
    server.redirect = (302, f"http://{HOSTILE[:7]}.example/\x1b[2J\x9b")
    check(told(installation, "inkgate-rules", "refresh", terminal=False), ("refresh",))
