"""Squid's user owns the folder `run`: whatever it puts there, root changes nothing elsewhere.

Every file there, replaced by everything that this user can make, and every command that
root runs: nothing outside is made, removed or changed, nothing hangs, and what the command
says is one line.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from inkgate.admin import cli as admin_cli
from inkgate.admin.status import cli as status_cli  # noqa: F401 (loaded before the forks)
from inkgate.health.clock import Clock
from inkgate.health.conditions import NAMES
from inkgate.health.counters import Counters
from inkgate.rules import cli as rules_cli
from inkgate.rules.commands import installed, match, publishing  # noqa: F401
from inkgate.rules.crypto.key_cache import KeyCache
from inkgate.rules.install.outcome import OUTCOME
from inkgate.rules.match import run as match_run  # noqa: F401
from inkgate.sightings.commands import aggregation, list_show, report  # noqa: F401
from inkgate.sightings.commands import cli as sightings_cli
from inkgate.sightings.errors import JournalError
from inkgate.sightings.journal.journal import Journal
from inkgate.sightings.report import reporter  # noqa: F401
from support.installation import BIN, SETTINGS, Installation, attribute
from support.reporting import sighting
from support.sabotage import KINDS, Done, forked, give, replace, snapshot

USER = "proxy"
INCIDENT = "IG-0000000000"
MORE = """
[sightings.misp]
url = "http://127.0.0.1:9"
key_file = "misp.key"
attempts = 1
first_wait = 0.01
"""
FILES = (
    "sightings.db",
    "sightings.db-wal",
    "sightings.db-shm",
    "sightings.db-journal",
    "sightings.db.reporter",
    ".sightings.db.0123456789abcdef.part",
    "keys",
    "keys/installation.key",
    "keys/warming.lock",
    "keys-match",
    "keys-match/installation.key",
    "health",
    "health/clock.json",
    "health/inkgate-helper-1-00000000.counters",
)
GIVEN = ("log.json", "pack.inkgate")

Main = Callable[[list[str]], object]
COMMANDS: dict[str, tuple[Main, list[str]]] = {
    "sightings status": (sightings_cli.main, ["status"]),
    "sightings list": (sightings_cli.main, ["list"]),
    "sightings show": (sightings_cli.main, ["show", INCIDENT]),
    "sightings refused": (sightings_cli.main, ["refused"]),
    "sightings retry": (sightings_cli.main, ["retry", "--all"]),
    "sightings prune": (sightings_cli.main, ["prune"]),
    "sightings report": (sightings_cli.main, ["report"]),
    "sightings false-positive": (sightings_cli.main, ["false-positive", INCIDENT]),
    "rules match": (rules_cli.main, ["match", "--jobs", "1", "-q", "log.json"]),
    "rules match --sightings": (
        rules_cli.main,
        ["match", "--jobs", "1", "-q", "--sightings", "log.json"],
    ),
    "rules match value": (rules_cli.main, ["match", "domain=listed.example"]),
    "rules inspect": (rules_cli.main, ["inspect"]),
    "rules refresh": (rules_cli.main, ["refresh", "-q"]),
    "rules install": (rules_cli.main, ["install", "pack.inkgate"]),
    "status": (admin_cli.main, ["status"]),
    "status --json": (admin_cli.main, ["status", "--json"]),
}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can be tricked into root's acts"),
]


class Place:
    """An installation whose `run` belongs to Squid's user, and files that it must not touch."""

    def __init__(self) -> None:
        pwd.getpwnam(USER)
        self.made = Installation(SETTINGS + MORE)
        self.run = self.made.folder / "run"
        self.outside = self.made.folder / "outside"
        self.outside.mkdir()
        (self.outside / "secret").write_text("outside\n")
        (self.outside / "secret").chmod(0o600)
        (self.outside / "public").write_text("outside\n")
        (self.made.folder / "misp.key").write_text("k" * 40)
        (self.made.folder / "misp.key").chmod(0o600)
        (self.made.folder / "log.json").write_text('{"url": "http://listed.example/"}\n')
        self.made.add("listed", attribute("domain", "listed.example"))
        assert self.made.run("inkgate-rules", "refresh").returncode == 0
        pack = str(self.made.folder / "pack.inkgate")
        assert self.made.run("inkgate-rules", "export", pack).returncode == 0
        # Makes its lock, which stays.
        assert self.made.run("inkgate-rules", "install", pack).returncode == 0
        generation = (self.made.places.installed / "current").resolve()
        (self.outside / "rules").symlink_to(generation)
        self._fill(generation.name)
        self.template = self.made.folder / "template"
        shutil.copytree(self.run, self.template, symlinks=True)

    def _fill(self, _: str) -> None:
        with closing(Journal(self.run / "sightings.db")) as journal:
            journal.append([sighting(["0e2f3b8a-5d8c-4c56-9d3c-0a1b2c3d4e5f"], incident=INCIDENT)])
        KeyCache(self.run / "keys", "0" * 32).close()
        (self.run / "keys" / "warming.lock").touch()
        health = self.run / "health"
        health.mkdir()
        Counters(health, "inkgate-helper", NAMES)
        Clock(health).keep()

    def restore(self) -> None:
        shutil.rmtree(self.run)
        shutil.copytree(self.template, self.run, symlinks=True)
        give(self.run, USER)

    def replace(self, file: str, kind: str) -> None:
        path = self.run / file
        if not path.parent.exists():
            forked(path.parent.mkdir, USER)
        replace(path, kind, self.outside, USER)

    def snapshot(self) -> dict[str, tuple[object, ...]]:
        # A refresh works in the publisher's folder; root's own key cache is beside the rules.
        kept = self.made.folder
        left_out = (self.run, kept / "publisher", kept / "keys-match", self.template)
        found = snapshot(kept, leave_out=left_out)
        del found[str(self.made.places.installed / OUTCOME)]
        return found

    def command(self, name: str) -> Done:
        main, words = COMMANDS[name]
        words = [str(self.made.folder / word) if word in GIVEN else word for word in words]
        return forked(lambda: main(["--config", str(self.made.config), *words]))


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    made = Place()
    try:
        yield made
    finally:
        made.made.close()


def check(done: Done, name: str, file: str) -> None:
    text = f"{name}, {file}: {done}"
    assert done.status in (0, 1, 2, 3), text
    assert "Traceback" not in done.stderr, text
    if done.status == 2 and not name.startswith("status"):
        assert len(done.stderr.splitlines()) == 1, text


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("file", FILES)
def test_nothing_outside_is_touched(place: Place, file: str, kind: str) -> None:
    place.restore()
    before = place.snapshot()
    for name in COMMANDS:
        place.restore()
        place.replace(file, kind)
        check(place.command(name), name, file)
        assert place.snapshot() == before, name


@pytest.mark.parametrize("kind", sorted(KINDS.keys() - {"garbage", "unreadable"}))
@pytest.mark.parametrize("name", [name for name in COMMANDS if name.startswith("sightings")])
def test_what_is_no_journal_is_said(place: Place, name: str, kind: str) -> None:
    place.restore()
    place.replace("sightings.db", kind)
    done = place.command(name)
    assert done.status == 2, done
    assert str(place.run / "sightings.db") in done.stderr
    assert "remove it" in done.stderr


@pytest.mark.parametrize("kind", sorted(KINDS.keys() - {"garbage", "unreadable"}))
def test_drain_and_encrypt_say_it_too(place: Place, kind: str) -> None:
    place.restore()
    before = place.snapshot()
    place.replace("sightings.db", kind)
    shared = place.made.folder / "shared.toml"
    shared.write_text(
        '[sightings]\njournal = "redis://127.0.0.1:9/0"\nspool = "run/sightings.db"\n'
    )
    done = forked(lambda: sightings_cli.main(["--config", str(shared), "drain"]))
    shared.unlink()
    assert done.status == 2, done
    assert "remove it" in done.stderr

    def count() -> None:
        party = aggregation._Party.__new__(aggregation._Party)
        party.config = place.made.config
        today = datetime.now(UTC).date()
        session = SimpleNamespace(first=today, end=today + timedelta(days=1), period="today")
        with pytest.raises(JournalError, match="remove it"):
            party.counts(session)  # type: ignore[arg-type]
        assert os.getresuid() == (0, 0, 0)

    done = forked(count)
    assert done.status == 0, done.stderr
    assert place.snapshot() == before


@pytest.mark.parametrize("name", COMMANDS)
def test_an_untouched_folder_is_used(place: Place, name: str) -> None:
    place.restore()
    done = place.command(name)
    check(done, name, "nothing")
    # A MISP that does not answer; counters of a dead helper; no helper that runs.
    expected = {"sightings report": 1, "sightings false-positive": 1}
    if not name.startswith("status"):
        assert done.status == expected.get(name, 0), done
    strangers = {path for path in place.run.rglob("*") if path.stat().st_uid == 0}
    assert strangers == set(), name


def test_example_status_makes_no_file_where_a_link_leads(place: Place) -> None:
    """Issue: sightings.db is a link to a file that is not there; status made it."""
    place.restore()
    (place.run / "sightings.db").unlink()
    replace(place.run / "sightings.db", "link-to-nothing", place.outside, USER)
    place.command("sightings status")
    assert not (place.outside / "new").exists()


def test_example_match_removes_no_rules(place: Place) -> None:
    """Issue: keys-match is a link to the rules; match removed them."""
    place.restore()
    replace(place.run / "keys-match", "link-to-folder", place.outside, USER)
    before = place.snapshot()
    assert place.command("rules match").status == 0
    assert place.snapshot() == before
    assert place.command("rules match").status == 0


@pytest.mark.parametrize("file", ["sightings.db", "keys", "health"])
@pytest.mark.parametrize("kind", ["link-to-nothing", "link-to-folder", "fifo"])
def test_helper_started_by_root(place: Place, file: str, kind: str) -> None:
    place.restore()
    place.replace(file, kind)
    before = place.snapshot()
    done = subprocess.run(
        [BIN / "inkgate-helper", "--config", place.made.config],
        input=b"1 GET http://listed.example/ 192.0.2.1 - - -\n",
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.startswith(b"1 OK"), done.stderr
    assert place.snapshot() == before
