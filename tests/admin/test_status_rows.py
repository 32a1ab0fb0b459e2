"""Rows of inkgate status that must neither vanish nor stay, whatever lies on the machine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from contextlib import closing
from typing import Any

import pytest

from inkgate.admin.status.cli import rows_of
from inkgate.health.counters import Counters
from inkgate.health.monitor import Monitor
from inkgate.sightings.journal.journal import Journal
from inkgate.squid_conf.check_result import CheckResult, check_result_file, write_check_result
from support.installation import BIN, Installation, attribute
from support.misp import Faults, MispServer
from support.redis_server import RedisServer
from support.reporting import Reporting, populated, rough, sighting
from support.status import status
from support.waiting import wait_until

DAY = 86_400
OTHERS = ("readable", "protected", "private", "writable", "canary", "journal", "by-fail")


@pytest.fixture
def listed(installation: Installation) -> Installation:
    installation.add("listed", attribute("domain", "listed.example"))
    installation.refresh()
    set_key(installation, "squid_conf", 'check_result = "check.json"')
    return installation


def set_key(installation: Installation, section: str, line: str) -> None:
    text = installation.config.read_text()
    installation.config.write_text(text.replace(f"[{section}]\n", f"[{section}]\n{line}\n", 1))


def counters(installation: Installation, program: str, *names: str) -> Counters:
    """A living process's counters, in a folder that inkgate has made."""
    folder = installation.folder / "run" / "health"
    Monitor(folder, "inkgate-helper", print).end()
    return Counters(folder, program, names)


@pytest.mark.parametrize("program", ["inkgate-helper", "inkgate-icap", "inkgate-sightings"])
def test_attack_state_of_another_kind_hides_no_row(listed: Installation, program: str) -> None:
    set_key(listed, "sightings", 'misp.url = "http://127.0.0.1:9"\nmisp.key_file = "key"')
    made = counters(listed, program, "requests")
    made.say(dict.fromkeys(("serial", "ended", "failed", "waiting", "refused"), "x"))
    found = status(listed)
    assert set(OTHERS) < set(found.rows)


def test_section_that_nobody_knows_hides_no_row(listed: Installation) -> None:
    write_check_result(check_result_file(listed.config), CheckResult(time.time(), "critical"))
    listed.config.write_text(f"{listed.config.read_text()}[sightngs]\n")
    found = status(listed)
    assert set(OTHERS) < set(found.rows)
    assert (found.level("settings"), found.level("canary"), found.code) == (1, 2, 2)


MISTAKES = {
    "rules": "[rules]\ntoken_fil = 1\n",
    "health": "[health]\nfoldr = 1\n",
    "sightings": "[sightings]\njurnal = 1\n",
    "squid_conf": "[squid_conf]\npags = 1\n",
    "helper": "[helper]\nfial = 1\n",
    "icap": "[icap]\nlistn = 1\n",
    "two sections": "[helper]\nfial = 1\n[health]\nfoldr = 1\n",
    "no TOML": "[rules]\nsources = = 1\n",
    "no store": '[sightings]\njournal = "ftp://x/"\n',
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistake_in_the_settings_is_said_once_and_others_refer(
    listed: Installation, name: str
) -> None:
    listed.config.write_text(MISTAKES[name])
    done = listed.run("inkgate", "status")
    rows = [line for line in done.stdout.splitlines() if not line.startswith(" ")]
    said = [line for line in rows if str(listed.config) in line]
    assert (done.returncode, len(said)) == (2, 1), done.stdout
    assert said[0].startswith("CRITICAL  settings ")
    found = status(listed)
    refer = [row for row in found.rows.values() if "see row `settings`" in row["text"]]
    assert all(row["level"] and "refresh" not in row["remedy"] for row in refer)
    assert ("see row `settings`" in found.rows["rules"]["text"]) == (name in ("rules", "no TOML"))


@pytest.mark.parametrize(
    ("line", "said", "remedy"),
    [
        (
            'sources = ["events", {type = "feed", lcoation = "feed"}]',
            "[[rules.sources]] entry 2: Object contains unknown field `lcoation`",
            "did you mean location?",
        ),
        ('allow = ["missing.txt"]', "[rules] allow: missing.txt is not there", "correct the path"),
        (
            'warninglists = { rfc5735s = "off", default = "drop" }',
            "[rules] warninglists: there is no list rfc5735s in ",
            "name a folder that is there",
        ),
    ],
)
def test_mistake_that_the_next_refresh_would_meet_is_said_before(
    listed: Installation, line: str, said: str, remedy: str
) -> None:
    sound = listed.config.read_text()
    listed.configure(line)
    found = status(listed)
    assert found.level("settings") == 2
    assert said in found.rows["settings"]["text"]
    assert remedy in found.rows["settings"]["remedy"]
    assert found.level("rules") == 0
    assert listed.run("inkgate-rules", "refresh").returncode == 2
    listed.config.write_text(sound)
    # A proxy without sources never refreshes.
    listed.configure(f"{line}\nsources = []" if "sources" not in line else "sources = []")
    assert status(listed).level("settings") == 0


def test_list_that_is_named_rightly_is_no_mistake(listed: Installation) -> None:
    listed.configure('warninglists = { rfc5735 = "off", default = "drop" }')
    assert status(listed).level("settings") == 0


def test_refused_settings_name_their_key(listed: Installation) -> None:
    listed.config.write_text(f"{listed.config.read_text()}[icap]\n")
    monitor = Monitor(listed.folder / "run" / "health", "inkgate-helper", lambda _: None)
    monitor.met("settings-refused", "inkgate.toml: [helper] fial: unknown")
    assert "[helper] fial: unknown" in status(listed).rows["settings-refused"]["text"]
    monitor.over("settings-refused", "corrected")
    assert "fial" not in status(listed).rows["settings-refused"]["text"]


def test_attack_reason_of_any_length_or_kind_hides_no_row(listed: Installation) -> None:
    made = counters(listed, "inkgate-helper", "no-rules", "no-rules.now", "no-rules.last")
    made.add("no-rules")
    made.set("no-rules.now", 1)
    for why in ("x" * 60_000, 7.0, "\x1b[2J\n"):
        made.say({"no-rules.why": why})
        done = listed.run("inkgate", "status")
        (line,) = [x for x in done.stdout.splitlines() if " no-rules " in x]
        assert len(line) < 600
        assert "\x1b" not in line


@pytest.mark.parametrize(("sources", "command"), [('["events"]', "refresh"), ("[]", "install")])
def test_remedy_of_old_rules_is_the_command_that_renews_them(
    listed: Installation, sources: str, command: str
) -> None:
    listed.configure(f"sources = {sources}")
    rows = {row.name: row for row in rows_of(listed.config, time.time() + 40 * DAY)}
    other = {"refresh": "install", "install": "refresh"}[command]
    for name in ("rules", "refresh"):
        assert f"inkgate-rules {command}" in rows[name].remedy
        assert f"inkgate-rules {other}" not in rows[name].remedy


def test_long_result_of_the_check_is_one_line_until_it_is_asked_for(listed: Installation) -> None:
    findings = tuple(f"{number}: {'what is wrong ' * 20}; do that" for number in range(7))
    result = CheckResult(time.time(), "critical", findings)
    write_check_result(check_result_file(listed.config), result)
    short = listed.run("inkgate", "status").stdout
    (line,) = [line for line in short.splitlines() if " canary " in line]
    assert len(line) < 200
    assert "(and 6 more)" in line
    assert findings[6] not in short
    assert findings[6] in listed.run("inkgate", "status", "--verbose").stdout
    assert status(listed).rows["canary"]["details"] == list(findings)


def test_event_of_a_clock_that_was_ahead_is_not_recent_until_then(listed: Installation) -> None:
    made = counters(listed, "inkgate-helper", "queue-full", "queue-full.last")
    made.add("queue-full")
    made.set("queue-full.last", int(time.time()) + 300 * DAY)
    assert status(listed).level("queue-full") == 0


@pytest.mark.parametrize("front_ends", ["icap", "both"])
def test_icap_server_that_does_not_run_is_said(listed: Installation, front_ends: str) -> None:
    set_key(listed, "squid_conf", f'front_ends = "{front_ends}"')
    counters(listed, "inkgate-helper", "requests").say({"serial": 1})
    found = status(listed)
    assert (found.level("icap"), found.level("helper"), found.code) == (2, 0, 2)


def test_counting_that_is_switched_off_is_said(listed: Installation) -> None:
    text = listed.config.read_text().replace('folder = "run/health"', 'folder = ""')
    listed.config.write_text(text)
    set_key(listed, "squid_conf", 'front_ends = "icap"\ntunnels = "tunnels.log"')
    (listed.folder / "tunnels.log").write_text("1\n")
    found = status(listed)
    assert found.level("counters") == 3
    # Nobody knows who runs and reads: nothing is said to be down.
    assert found.level("tunnels") == 3
    assert not {"icap", "helper", "standby"} & set(found.rows)


def test_rules_that_cannot_be_opened_are_said_without_any_traffic(listed: Installation) -> None:
    assert status(listed).level("rules") == 0
    generation = listed.places.installed / "current"
    gate = next(generation.glob("*.gate"))
    for path, size in ((generation / "rules.mdb", 4096), (gate, 1)):
        whole = path.read_bytes()
        os.truncate(path, size)
        found = status(listed)
        assert (found.level("rules"), found.code) == (2, 2)
        assert "cannot be opened" in found.rows["rules"]["text"]
        path.write_bytes(whole)
    (generation / "rules.mdb").unlink()
    assert status(listed).level("rules") == 2


@pytest.mark.parametrize("section", ["squid_conf", "icap"])
def test_rows_of_followed_logs_that_cannot_be_told_are_there(
    listed: Installation, section: str
) -> None:
    set_key(listed, "squid_conf", 'tunnels = "tunnels.log"\nbypasses = "bypasses.log"')
    for name in ("tunnels", "bypasses"):
        (listed.folder / f"{name}.log").write_text("1\n")
    listed.config.write_text(f"{listed.config.read_text()}[xyzzy]\n[icap]\n")
    found = status(listed)
    assert (found.level("tunnels"), found.level("bypasses")) == (1, 1)
    set_key(listed, section, "misspelt = 1")
    found = status(listed)
    assert found.level("tunnels") == (3 if section == "squid_conf" else 1)
    assert found.level("bypasses") == 3


def test_check_that_cannot_be_made_is_kept(listed: Installation) -> None:
    write_check_result(check_result_file(listed.config), CheckResult(time.time(), "ok"))
    assert status(listed).level("canary") == 0
    listed.config.write_text(f"{listed.config.read_text()}[icap]\nlisten = 7\n")
    assert listed.run("inkgate", "squid", "check").returncode == 2
    found = status(listed)
    assert found.level("canary") == 2
    assert "[icap]" in found.rows["canary"]["text"]


def report_row(reporting: Reporting) -> dict[str, Any]:
    done = subprocess.run(
        [BIN / "inkgate", "--config", reporting.config, "status", "--json"],
        capture_output=True,
        check=False,
    )
    rows: list[dict[str, Any]] = json.loads(done.stdout)["rows"]
    return next(row for row in rows if row["name"] == "report")


def test_following_report_to_a_misp_that_is_away_is_said_until_that_is_over() -> None:
    with MispServer(populated(1, 1)) as server, Reporting(server) as reporting:
        server.faults = rough(1, rate=1, kinds=("500",), in_a_row=10**9)
        (one,) = server.misp.attributes.values()
        with closing(Journal(reporting.folder / "sightings.db")) as journal:
            journal.append([sighting([one.uuid])])
        follower = subprocess.Popen(
            reporting.command("report", "--follow"), stderr=subprocess.DEVNULL
        )
        try:
            row = wait_until(
                lambda: "attempt" in (found := report_row(reporting))["text"] and found, "a warning"
            )
            assert row["level"] == 1
            server.faults = Faults()
            wait_until(lambda: report_row(reporting)["level"] == 0, "the warning to go")
            # One that gives way to it says nothing of it.
            reporting.run("report", status=2)
            assert report_row(reporting)["level"] == 0
        finally:
            follower.send_signal(signal.SIGTERM)
            follower.wait()


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_drain_to_a_redis_that_is_away_is_said_until_that_is_over(
    listed: Installation, how: signal.Signals
) -> None:
    """Killed, or silent as behind a black hole."""
    with RedisServer() as server:
        text = listed.config.read_text()
        listed.config.write_text(
            text.replace('journal = "run/', f'journal = "{server.url}/0"\nspool = "run/')
            + "[sightings.redis]\ntimeout = 0.5\n"
        )
        assert status(listed).level("drain") == 1
        assert listed.run("inkgate-sightings", "drain").returncode == 0
        assert status(listed).level("drain") == 0
        follower = subprocess.Popen(
            [BIN / "inkgate-sightings", "--config", listed.config, "drain", "--follow"],
            stderr=subprocess.DEVNULL,
        )
        try:
            assert server.process
            server.process.send_signal(how)
            found = wait_until(
                lambda: (s := status(listed)).level("drain") == 1 and s, "the row", seconds=90
            )
            assert "attempt" in found.rows["drain"]["text"]
            assert found.code == 1
            if how == signal.SIGKILL:
                server.process.wait()
                server.start()
            else:
                server.process.send_signal(signal.SIGCONT)
            wait_until(lambda: status(listed).level("drain") == 0, "the warning to go", seconds=90)
        finally:
            follower.send_signal(signal.SIGTERM)
            follower.wait(30)
