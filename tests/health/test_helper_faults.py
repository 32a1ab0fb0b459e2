"""What happens when: faults of a helper, each with its verdict, log line, counter and row.

docs/what-happens-when.md has the same as a table, and `test_table` holds both together.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import lmdb
import pytest

from inkgate.rules.crypto.keys import make_token
from inkgate.sightings.journal.database import open_writer, transaction
from inkgate.sightings.journal.records import used_bytes
from support.helper_faults import BLOCKS, LISTED, PASSES, UNABLE, Start, said, set_key
from support.helper_process import request
from support.installation import BIN, Installation, attribute
from support.status import Status, status, wait_for_now
from support.waiting import wait_until

# A process or several for each test.
pytestmark = pytest.mark.slow

DAY = 86_400


def change_manifest(installation: Installation, **values: object) -> None:
    """Change the manifest of the installed rules, whose signature is not looked at any more."""
    path = installation.places.installed / "current" / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def at(days: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + days * DAY))


def test_no_rule_set(listed: Installation, start: Start) -> None:
    (listed.places.installed / "current").unlink()
    helper = start()
    assert helper.ask(LISTED, "http://other.example/") == [UNABLE, UNABLE]
    found = status(listed)
    assert (found.code, found.level("no-rules"), found.is_now("no-rules")) == (2, 2, True)
    assert found.rows["by-fail"]["data"]["by_fail"] == 2
    # It began once, whatever number of requests it concerns.
    assert found.count("no-rules") == 1
    assert found.level("rules") == 2
    listed.refresh()
    helper.wait_for(LISTED, BLOCKS)
    found = wait_for_now(listed, "no-rules", lasts=False)
    assert found.level("no-rules") == 0
    log = said(helper, "no-rules")
    assert "no rule set is installed" in log
    # One is listed, and four are canaries.
    assert "recovered: no-rules: serial 1, 5 rules" in log
    assert "use of serial 1, 5 rules, made 20" in log


def test_token_that_cannot_be_read_at_the_start(listed: Installation, start: Start) -> None:
    listed.places.token_file.rename(listed.folder / "elsewhere")
    helper = start()
    assert helper.ask(LISTED) == [UNABLE]
    assert status(listed).level("no-rules") == 2
    assert str(listed.places.token_file) in said(helper, "no-rules")


def test_newer_rules_that_cannot_be_opened(listed: Installation, start: Start) -> None:
    helper = start()
    assert helper.ask(LISTED) == [BLOCKS]
    listed.places.token_file.unlink()
    make_token(listed.places.token_file)
    listed.add("more", attribute("domain", "more.example"))
    kept = listed.places.token_file.read_bytes()
    listed.refresh(new_epoch=True)
    listed.places.token_file.unlink()
    found = wait_for_now(listed, "rules-not-opened")
    assert (found.code, found.level("rules-not-opened")) == (2, 2)
    # The rules of before are still in use.
    assert helper.ask(LISTED, "http://more.example/") == [BLOCKS, PASSES]
    assert found.rows["helper"]["data"]["oldest_serial"] == 1
    assert found.level("helper") == 1
    listed.places.token_file.write_bytes(kept)
    helper.wait_for("http://more.example/", BLOCKS)
    assert status(listed).level("rules-not-opened") == 0
    assert "recovered: rules-not-opened: serial 2" in said(helper, "rules-not-opened")


def test_rules_older_than_warn_age_days(listed: Installation, start: Start) -> None:
    change_manifest(listed, created=at(-8))
    helper = start()
    assert helper.ask(LISTED) == [BLOCKS]
    found = status(listed)
    assert (found.code, found.level("rules-old"), found.level("rules")) == (1, 1, 1)
    assert "8 days old (warn_age_days 7)" in said(helper, "rules-old", "warning")


def test_rules_dated_ahead(listed: Installation, start: Start) -> None:
    change_manifest(listed, created=at(3650), expires=at(3680))
    helper = start()
    assert helper.ask(LISTED) == [BLOCKS]
    found = status(listed)
    assert (found.level("rules-from-the-future"), found.level("rules")) == (1, 1)
    assert "dated 3650 days ahead" in said(helper, "rules-from-the-future", "warning")


@pytest.mark.parametrize(("after", "verdict"), [("use", BLOCKS), ("fail", UNABLE)])
def test_rules_past_their_expiry(
    listed: Installation, start: Start, after: str, verdict: bytes
) -> None:
    set_key(listed, "rules", f'after_expiry = "{after}"')
    change_manifest(listed, created=at(-40), expires=at(-10))
    helper = start()
    assert helper.ask(LISTED) == [verdict]
    found = status(listed)
    assert (found.code, found.level("rules-expired"), found.level("rules")) == (2, 2, 2)
    assert found.rows["by-fail"]["data"]["by_fail"] == (after == "fail")
    assert "serial 1 expired" in said(helper, "rules-expired")


def test_rules_that_expire_while_they_are_in_use(listed: Installation, start: Start) -> None:
    set_key(listed, "rules", 'after_expiry = "fail"')
    change_manifest(listed, expires=at(4 / DAY))
    helper = start()
    helper.wait_for(LISTED, UNABLE)
    wait_for_now(listed, "rules-expired")
    listed.add("more", attribute("domain", "more.example"))
    listed.refresh()
    helper.wait_for(LISTED, BLOCKS)
    assert "recovered: rules-expired: serial 2 expires" in said(helper, "rules-expired")


@pytest.mark.parametrize("years", [1, -1])
def test_clock_that_jumps_by_a_year(listed: Installation, start: Start, years: int) -> None:
    """The clock jumps between two helpers; what the first noted is moved instead of it."""
    set_key(listed, "rules", 'after_expiry = "fail"')
    first = start()
    assert first.ask(LISTED) == [BLOCKS]
    first.close()
    path = listed.folder / "run/health/clock.json"
    note = json.loads(path.read_text())
    path.write_text(json.dumps(note | {"wall": note["wall"] - years * 366 * DAY}))
    change_manifest(listed, created=at(-years * 366 - 1), expires=at(-years * 366 + 29))
    second = start()
    assert second.ask(LISTED) == [BLOCKS]
    found = status(listed)
    assert found.level("clock-jumped") == 1
    assert not found.is_now("rules-expired")
    # The row goes by the same clock.
    assert found.level("rules") == 0
    assert "made 1 day ago" in found.rows["rules"]["text"]
    assert f"{years * 366:+.1f} days" in said(second, "clock-jumped", "warning")


@pytest.mark.parametrize(("years", "verdict"), [(1, BLOCKS), (-1, PASSES)])
def test_rules_that_end_by_themselves_go_by_the_same_clock(
    listed: Installation, start: Start, years: int, verdict: bytes
) -> None:
    """Made to end 30 days from what the wall clock says, which was set by a year."""
    listed.configure('max_age_days = { "*" = 30 }')
    listed.add("listed", attribute("domain", "listed.example", timestamp=str(int(time.time()))))
    listed.refresh()
    start().close()
    path = listed.folder / "run/health/clock.json"
    note = json.loads(path.read_text())
    path.write_text(json.dumps(note | {"wall": note["wall"] - years * 366 * DAY}))
    helper = start()
    assert helper.ask(LISTED) == [verdict]
    said(helper, "clock-jumped", "warning")


def test_damaged_rule(listed: Installation, start: Start) -> None:
    path = listed.places.installed / "current" / "rules.mdb"
    with lmdb.open(str(path), subdir=False, lock=False) as rules, rules.begin(write=True) as txn:
        for key, value in list(txn.cursor()):
            txn.put(key, value[:-1] + bytes([value[-1] ^ 1]))
    helper = start()
    assert helper.ask(LISTED) == [UNABLE]
    found = status(listed)
    assert (found.code, found.level("rule-damaged"), found.count("rule-damaged")) == (2, 2, 1)
    assert helper.ask(*[LISTED] * 3) == [UNABLE] * 3
    # As the remedy says, also while nothing has changed in the sources.
    listed.refresh()
    helper.wait_for(LISTED, BLOCKS)
    log = said(helper, "rule-damaged")
    # What was met before is not said after the mend, as if it were not over.
    *_, before, last = [line for line in log.splitlines() if "rule-damaged" in line]
    assert " times since the last such line)" in before
    assert ": recovered: rule-damaged: serial 1, " in last


def test_more_requests_than_may_wait(listed: Installation, start: Start) -> None:
    set_key(listed, "helper", "pending = 2")
    helper = start()
    with helper.held():
        urls = [f"http://new{n}.example/" for n in range(5)]
        helper.send(*(request(n, url) for n, url in enumerate(urls)))
        assert [helper.read().split()[1] for _ in range(3)] == [UNABLE] * 3
    assert [helper.read().split()[1] for _ in range(2)] == [PASSES] * 2
    found = status(listed)
    assert (found.code, found.count("queue-full")) == (2, 3)
    wait_until(
        lambda: status(listed).rows["by-fail"]["data"] == {"requests": 5, "by_fail": 3},
        "all five requests to be counted",
    )
    said(helper, "queue-full")


def test_deadline_and_a_match_after_it(listed: Installation, start: Start) -> None:
    set_key(listed, "helper", "deadline_seconds = 0.2")
    helper = start()
    with helper.held():
        assert helper.ask(LISTED) == [UNABLE]
        assert status(listed).count("deadline-passed") == 1
    found = wait_until(
        lambda: (s := status(listed)).count("late-match") == 1 and s, "the late match"
    )
    assert (found.code, found.level("late-match")) == (2, 2)
    log = said(helper, "late-match")
    assert ": critical: deadline-passed: " in log


def test_derivation_without_memory(listed: Installation, start: Start) -> None:
    text = listed.config.read_text()
    big = '{ algorithm = "argon2id", memory_kib = 65536, iterations = 1 }'
    listed.config.write_text(text.replace('name = "test"', f"name = {big}"))
    listed.refresh()
    helper = start()
    assert helper.ask(LISTED) == [BLOCKS]
    size = int(Path(f"/proc/{helper.process.pid}/statm").read_text().split()[0])
    most = size * resource.getpagesize() + (16 << 20)
    resource.prlimit(helper.process.pid, resource.RLIMIT_AS, (most, most))
    assert helper.ask("http://other.example/") == [UNABLE]
    found = status(listed)
    assert (found.code, found.count("lookup-failed")) == (2, 1)
    assert "other.example" not in said(helper, "lookup-failed")


@pytest.mark.parametrize("line", [b"7 GET http://other.example/\n", b"7\n", b"7  - - - - -\n"])
def test_line_of_another_format(listed: Installation, start: Start, line: bytes) -> None:
    helper = start()
    helper.send(line)
    assert helper.read().split()[:2] == [b"7", UNABLE]
    assert status(listed).count("line-refused") == 1
    said(helper, "line-refused")


def test_line_without_an_id(listed: Installation, start: Start) -> None:
    helper = start()
    helper.send(b"GET http://other.example/ 192.0.2.1 - - -\n")
    assert helper.ask(LISTED) == [BLOCKS]
    assert status(listed).count("line-refused") == 1
    assert "without an ID" in said(helper, "line-refused")


@pytest.mark.parametrize("section", ["helper", "sightings", "health"])
def test_section_that_cannot_be_used(listed: Installation, start: Start, section: str) -> None:
    set_key(listed, section, "misspelt = 1")
    helper = start()
    assert helper.ask(LISTED, "http://other.example/") == [BLOCKS, PASSES]
    found = status(listed)
    assert found.code == 2
    if section != "health":
        assert found.level("settings-refused") == 2
    assert f"[{section}]" in said(helper, "settings-refused")


@pytest.mark.parametrize("section", ["helper", "icap", "squid_conf"])
def test_mistake_in_the_settings_is_said_before_the_next_start(
    listed: Installation, start: Start, section: str
) -> None:
    helper = start()
    assert helper.ask(LISTED) == [BLOCKS]
    with listed.config.open("a") as file:
        file.write("" if f"[{section}]" in listed.config.read_text() else f"[{section}]\n")
    set_key(listed, section, "misspelt = 1")
    found = status(listed)
    assert (found.code, found.level("settings")) == (2, 2)


def test_section_that_nobody_knows(listed: Installation, start: Start) -> None:
    with listed.config.open("a") as file:
        file.write("[helpers]\n")
    helper = start()
    assert helper.ask(LISTED, "http://other.example/") == [BLOCKS, PASSES]
    found = status(listed)
    assert (found.code, found.level("section-unknown")) == (1, 1)
    assert found.level("settings") == 1
    told = said(helper, "section-unknown", "warning")
    assert "there is no section [helpers]; did you mean [helper]?" in told


def test_section_that_may_be_the_journals_keeps_no_whole_addresses(
    listed: Installation, start: Start
) -> None:
    text = listed.config.read_text()
    listed.config.write_text(text.replace("[sightings]", '[sighting]\nclients = "hash"'))
    helper = start()
    assert helper.ask(LISTED) == [BLOCKS]
    assert status(listed).level("settings-refused") == 2
    log = said(helper, "settings-refused")
    assert "settings-refused: no incident is journalled: " in log
    assert "did you mean [sightings]?" in log


def test_key_cache_that_cannot_be_used(listed: Installation, start: Start) -> None:
    listed.places.key_cache.write_text("in the way")
    helper = start()
    assert helper.ask(LISTED) == [BLOCKS]
    found = status(listed)
    assert (found.code, found.level("key-cache-failed")) == (1, 1)
    assert str(listed.places.key_cache) in said(helper, "key-cache-failed", "warning")


def test_journal_that_cannot_be_written(listed: Installation, start: Start) -> None:
    journal = listed.folder / "run/sightings.db"
    journal.mkdir()
    helper = start()
    assert helper.ask(LISTED) == [BLOCKS]
    found = wait_for_now(listed, "journal-failed")
    assert (found.code, found.level("journal-failed"), found.level("journal")) == (2, 2, 2)
    journal.rmdir()
    found = wait_for_now(listed, "journal-failed", lasts=False)
    assert found.level("journal") == 0
    assert "recovered: journal-failed: " in said(helper, "journal-failed")
    assert len(listed.run("inkgate-sightings", "list").stdout.splitlines()) >= 1


@pytest.mark.parametrize("how", ["moved", "deleted", "deleted with its log", "replaced"])
def test_journal_that_is_moved_while_in_use(listed: Installation, start: Start, how: str) -> None:
    journal = listed.folder / "run/sightings.db"
    helper, other = start(), start()
    for one in (helper, other):
        assert one.ask(LISTED) == [BLOCKS]
    wait_until(lambda: incidents(listed) == 2, "both incidents")
    aside = journal.with_name("aside.db")
    match how:
        case "moved":
            journal.rename(aside)
        case "replaced":
            journal.rename(aside)
            shutil.copy(aside, journal)
        case _:
            journal.unlink()
    if how == "deleted with its log":
        for suffix in ("-wal", "-shm"):
            journal.with_name(journal.name + suffix).unlink()
    before = 2 if how == "replaced" else 0
    for number, one in enumerate((helper, other, helper), start=before + 1):
        assert one.ask(LISTED) == [BLOCKS]
        wait_until(lambda want=number: incidents(listed) == want, f"{number} incidents")
    found = status(listed)
    assert (found.code, found.count("journal-moved")) == (1, 2)
    for one in (helper, other):
        assert "opened again" in said(one, "journal-moved", "warning")
    assert incidents(listed) == before + 3
    if how == "moved":
        for left in journal.parent.glob("sightings.db-*"):
            left.unlink()
        aside.rename(journal)
        assert incidents(listed) == 2


@pytest.mark.parametrize("suffix", ["", "-wal", "-shm"])
def test_journal_that_is_cut_off_while_in_use(
    listed: Installation, start: Start, suffix: str
) -> None:
    journal = listed.folder / "run/sightings.db"
    helper, other = start(), start()
    for one in (helper, other):
        assert one.ask(LISTED) == [BLOCKS]
    wait_until(lambda: incidents(listed) == 2, "both incidents")
    os.truncate(f"{journal}{suffix}", 0)
    # What was cut off is gone; whatever comes after it is there.
    left = 0 if suffix == "-wal" else 2
    for number, one in enumerate((helper, other, helper), start=left + 1):
        assert one.ask(LISTED) == [BLOCKS]
        wait_until(lambda want=number: incidents(listed) == want, f"{number} incidents")
    found = status(listed)
    assert (found.code, found.count("journal-moved") >= 1) == (1, True)
    assert "process-died" not in found.rows
    assert "opened again" in said(helper, "journal-moved", "warning")
    other.close()
    assert incidents(listed) == left + 3


def incidents(installation: Installation) -> int:
    """How many the journal has."""
    done = installation.run("inkgate-sightings", "list", "--json")
    return len(done.stdout.splitlines()) if done.returncode == 0 else -1


def test_journal_that_nobody_prunes(listed: Installation, start: Start) -> None:
    set_key(listed, "sightings", "keep_mib = 1\nhard_mib = 1")
    journal = listed.folder / "run/sightings.db"
    with closing(open_writer(journal)) as connection, transaction(connection):
        for number in range(4000):
            connection.execute(
                "INSERT INTO blocks (time, node, data) VALUES (?, 'proxy.test', ?)",
                (number, bytes(1000)),
            )
    assert journal.stat().st_size > 3 << 20
    helper = start()
    assert helper.ask(LISTED) == [BLOCKS]
    found = wait_until(
        lambda: (now := status(listed)).count("journal-cut") and now, "the journal to be cut"
    )
    assert (found.code, found.level("journal-cut")) == (2, 2)
    said(helper, "journal-cut")
    with closing(open_writer(journal)) as connection:
        assert used_bytes(connection) <= 1 << 20
        newest = connection.execute("SELECT max(id), count(*) FROM blocks").fetchone()
    assert newest[0] == 4001
    assert newest[1] > 100


def test_clients_that_cannot_be_hashed(listed: Installation, start: Start) -> None:
    set_key(listed, "sightings", 'clients = "hash"\nclients_key_file = "missing.key"')
    helper = start()
    assert helper.ask(LISTED) == [BLOCKS]
    assert status(listed).level("clients-not-journalled") == 1
    said(helper, "clients-not-journalled", "warning")


def test_helper_that_is_killed(listed: Installation, start: Start) -> None:
    first = start()
    assert first.ask(LISTED) == [BLOCKS]
    first.process.send_signal(signal.SIGKILL)
    first.process.wait()
    found = status(listed)
    assert (found.code, found.count("process-died")) == (2, 1)
    second = start()
    assert second.ask(LISTED) == [BLOCKS]
    found = status(listed)
    assert (found.code, found.count("process-died")) == (2, 1)
    assert f"inkgate-helper[{first.process.pid}]" in said(second, "process-died")


def test_helper_that_is_stopped(listed: Installation, start: Start) -> None:
    first, second = start(), start()
    for one in (first, second):
        assert one.ask(LISTED) == [BLOCKS]
    first.process.send_signal(signal.SIGSTOP)
    first.send(request(1, LISTED))
    found = wait_until(
        lambda: (s := status(listed)).rows["helper"]["data"]["stopped"] and s, "the row"
    )
    assert (found.code, found.level("helper")) == (2, 2)
    assert second.ask(LISTED) == [BLOCKS]
    first.process.send_signal(signal.SIGCONT)
    assert first.read().split()[1] == BLOCKS
    found = status(listed)
    assert (found.level("helper"), found.rows["helper"]["data"]["stopped"]) == (0, 0)


def test_helper_without_descriptors(listed: Installation, start: Start) -> None:
    helper = start()
    assert helper.ask("http://other.example/") == [PASSES]
    pid = helper.process.pid
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    used = max(int(fd.name) for fd in Path(f"/proc/{pid}/fd").iterdir()) + 1
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (used, before[1]))
    listed.add("more", attribute("domain", "more.example"))
    listed.refresh()
    # By the rules that are open.
    assert helper.ask(LISTED) == [BLOCKS]
    assert wait_for_now(listed, "rules-not-opened").code == 2
    resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
    helper.wait_for("http://more.example/", BLOCKS)
    wait_until(lambda: incidents(listed) >= 2, "both incidents")
    log = said(helper, "rules-not-opened")
    assert "Too many open files" in log


@pytest.mark.parametrize(("limit", "verdicts"), [(9, [UNABLE, UNABLE]), (13, [BLOCKS, PASSES])])
def test_helper_that_starts_with_few_descriptors(
    listed: Installation, limit: int, verdicts: list[bytes]
) -> None:
    """Whatever it cannot open: each request is answered, and what is missing is said."""
    done = subprocess.run(
        ["prlimit", f"--nofile={limit}", BIN / "inkgate-helper", "--config", listed.config],
        input=request(0, LISTED) + request(1, "http://other.example/"),
        capture_output=True,
        check=True,
    )
    answers = {line.split()[0]: line.split()[1] for line in done.stdout.splitlines()}
    assert [answers[b"0"], answers[b"1"]] == verdicts
    said = done.stderr.decode()
    assert (": critical: no-rules: " in said) == (verdicts[1] == UNABLE)
    assert (": critical: journal-failed: " in said) == (verdicts[1] == PASSES)
    assert "Too many open files" in done.stderr.decode()


_BREAKS_OFF = """
import sys
from inkgate.helper import __main__ as command
def run(self, fd): raise RuntimeError("a fault of our own")
command.Helper.run = run
command.main(["--config", sys.argv[1]])
"""


def test_helper_that_breaks_off_has_died(listed: Installation) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _BREAKS_OFF, listed.config], capture_output=True, check=False
    )
    assert done.returncode
    found = status(listed)
    assert (found.code, found.count("process-died")) == (2, 1)


def test_helper_that_ends_as_it_should_has_not_died(listed: Installation, start: Start) -> None:
    first = start()
    assert first.ask(LISTED) == [BLOCKS]
    first.close()
    second = start()
    assert second.ask(LISTED) == [BLOCKS]
    found = status(listed)
    assert "process-died" not in found.rows
    log = second.close()
    assert "critical" not in log


def test_counters_that_cannot_be_kept(listed: Installation, start: Start) -> None:
    (listed.folder / "run/health").write_text("in the way")
    helper = start()
    assert helper.ask(LISTED) == [BLOCKS]
    found: Status = status(listed)
    assert (found.code, found.level("counters")) == (1, 3)
    assert "inkgate status does not see this process" in helper.close()
