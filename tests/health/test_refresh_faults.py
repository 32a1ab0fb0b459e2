"""What happens when: refreshes, installations and reports that fail, and their rows."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
import uuid
from contextlib import closing
from pathlib import Path

import pytest

from inkgate.config.locks import lock_file
from inkgate.rules.errors import BusyError
from inkgate.rules.install.outcome import OUTCOME, recorded
from inkgate.rules.paths import LOCK
from inkgate.sightings.journal.block import Block
from inkgate.sightings.journal.journal import Journal
from support.installation import BIN, Installation, attribute
from support.status import status
from support.waiting import wait_until

# A process or several for each test.
pytestmark = pytest.mark.slow

DAY = 86_400


def outcome(installation: Installation) -> Path:
    return installation.places.installed / OUTCOME


def change(installation: Installation, **values: object) -> None:
    path = outcome(installation)
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def listed(installation: Installation) -> Installation:
    """One with a refresh that ended well."""
    installation.add("listed", attribute("domain", "listed.example"))
    assert installation.run("inkgate-rules", "refresh", "-q").returncode == 0
    return installation


def test_refresh_that_ends_well(installation: Installation) -> None:
    found = status(listed(installation))
    assert found.level("refresh") == 0
    assert found.rows["refresh"]["data"]["runs"] == 1
    assert found.rows["refresh"]["data"]["failures"] == 0
    assert outcome(installation).stat().st_mode & 0o777 == 0o640


def test_refresh_that_fails(installation: Installation) -> None:
    listed(installation)
    kept = installation.config.read_text()
    for times in (1, 2):
        installation.config.write_text(kept.replace('sources = ["events"]', "sources = []"))
        assert installation.run("inkgate-rules", "refresh", "-q").returncode == 2
        found = status(installation)
        assert (found.code, found.level("refresh")) == (2, 2)
        assert "sources is empty" in found.rows["refresh"]["text"]
        assert found.rows["refresh"]["data"]["failures_in_a_row"] == times
    installation.config.write_text(kept)
    assert installation.run("inkgate-rules", "refresh", "-q").returncode == 0
    found = status(installation)
    assert found.level("refresh") == 0
    assert found.rows["refresh"]["data"]["failures"] == 2
    assert found.rows["refresh"]["data"]["failures_in_a_row"] == 0


def test_refresh_that_is_killed(installation: Installation) -> None:
    listed(installation)
    pipe = installation.events / "slow.json"
    os.mkfifo(pipe)
    source = installation.config.read_text().replace('["events"]', f'["events", "{pipe}"]')
    installation.config.write_text(source)
    process = subprocess.Popen(
        [BIN / "inkgate-rules", "--config", installation.config, "refresh", "-q"],
        stderr=subprocess.DEVNULL,
    )
    running = '"state":"running"'
    wait_until(
        lambda: running in outcome(installation).read_text() or process.poll() is not None,
        "the refresh to be running",
    )
    if process.poll() is None:
        process.send_signal(signal.SIGKILL)
        process.wait()
    change(installation, state="running")
    found = status(installation)
    assert (found.code, found.level("refresh")) == (2, 2)
    assert "was killed before its end" in found.rows["refresh"]["text"]


def test_refresh_that_runs_beside_another_changes_no_record(installation: Installation) -> None:
    listed(installation)
    before = outcome(installation).read_bytes()
    lock = installation.places.publisher / ".lock"
    holding = subprocess.Popen(["flock", lock, "sleep", "60"])
    try:
        wait_until(
            lambda: subprocess.run(["flock", "-n", lock, "true"], check=False).returncode,
            "the lock to be held",
        )
        assert installation.run("inkgate-rules", "refresh", "-q").returncode == 2
        assert outcome(installation).read_bytes() == before
        change(installation, state="running", started=time.time())
        assert status(installation).level("refresh") == 0
    finally:
        holding.kill()
        holding.wait()


def test_refresh_that_gives_way_leaves_what_the_other_wrote(installation: Installation) -> None:
    """Also if that one ends while this one is on its way to its end."""
    listed(installation)
    places = installation.places
    change(installation, state="running", started=1.0)
    with lock_file(places.publisher / LOCK, 0o600) as is_mine:
        assert is_mine
        with (
            contextlib.suppress(BusyError),
            recorded(places.installed, "refresh", (places.publisher / LOCK,)),
        ):
            assert json.loads(outcome(installation).read_text())["started"] == 1.0
            # The other one ends.
            change(installation, state="done", ended=2.0)
            raise BusyError("made up")
    kept = json.loads(outcome(installation).read_text())
    assert (kept["state"], kept["started"], kept["ended"]) == ("done", 1.0, 2.0)


def test_refresh_with_a_source_that_cannot_be_read(installation: Installation) -> None:
    listed(installation)
    (installation.events / "listed.json").write_text("{")
    assert installation.run("inkgate-rules", "refresh", "-q").returncode == 1
    found = status(installation)
    assert (found.code, found.level("refresh")) == (1, 1)
    assert "listed.json" in found.rows["refresh"]["text"]
    assert "listed.example" not in outcome(installation).read_text()


def test_refresh_that_never_came_again(installation: Installation) -> None:
    listed(installation)
    change(installation, ended=time.time() - 31 * DAY)
    found = status(installation)
    assert (found.code, found.level("refresh")) == (1, 1)
    assert "31 days ago: none came since" in found.rows["refresh"]["text"]


def test_refresh_that_never_was(installation: Installation) -> None:
    found = status(installation)
    assert (found.code, found.level("refresh"), found.level("rules")) == (2, 1, 2)


def test_installation_of_a_pack_that_is_refused(installation: Installation, tmp_path: Path) -> None:
    listed(installation)
    pack = tmp_path / "a.inkgate"
    pack.write_bytes(b"no pack")
    assert installation.run("inkgate-rules", "install", str(pack)).returncode == 2
    found = status(installation)
    assert (found.code, found.level("refresh")) == (2, 2)
    assert found.rows["refresh"]["text"].startswith("install failed")


def test_report_to_a_misp_that_is_away(installation: Installation) -> None:
    listed(installation)
    key = installation.folder / "misp.key"
    key.write_text("k" * 40)
    key.chmod(0o600)
    text = installation.config.read_text()
    installation.config.write_text(
        f'{text}[sightings.misp]\nurl = "http://127.0.0.1:9"\nkey_file = "misp.key"\nattempts = 1\n'
    )
    found = status(installation)
    assert (found.level("report"), found.level("journal")) == (1, 0)
    with closing(Journal(installation.folder / "run" / "sightings.db")) as journal:
        block = Block()
        rule = ("domain", "block", (str(uuid.uuid4()),), ("7",))
        block.add(time.time(), "IG-0000000000", "192.0.2.1", "GET", [rule])
        journal.append_block("proxy.test", block)
    assert installation.run("inkgate-sightings", "report").returncode == 1
    found = status(installation)
    assert found.level("report") == 1
    assert "failed" in found.rows["report"]["text"]
