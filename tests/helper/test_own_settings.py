"""A helper takes its own sections again when they change, without losing a line."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.helper_process import HelperProcess, request
from support.installation import Installation, attribute
from support.status import status, wait_for_now
from support.waiting import wait_until

# A process or several for each test.
pytestmark = pytest.mark.slow

LISTED = "http://listed.example/"
BROKEN = "[\n"


@pytest.fixture
def listed(installation: Installation) -> Installation:
    """One that lists `listed.example`."""
    installation.add("listed", attribute("domain", "listed.example"))
    installation.refresh()
    return installation


@pytest.fixture
def helper(listed: Installation) -> Iterator[HelperProcess]:
    """A helper of it."""
    process = HelperProcess(listed)
    yield process
    process.kill()


def change(installation: Installation, old: str, new: str) -> None:
    text = installation.config.read_text()
    assert old in text
    installation.config.write_text(text.replace(old, new))


def journalled(installation: Installation) -> int:
    done = installation.run("inkgate-sightings", "list", "--json")
    return len([json.loads(line) for line in done.stdout.splitlines()])


def starts(helper: HelperProcess) -> int:
    """How often this process has opened a rule set: once each time that it begins."""
    return helper.counts.openings


def test_settings_that_are_mended_are_taken_and_matches_journalled(listed: Installation) -> None:
    sound = listed.config.read_text()
    listed.config.write_text(BROKEN)
    helper = HelperProcess(listed)
    try:
        assert helper.ask(LISTED) == [b"ERR"]
        pid = helper.process.pid
        listed.config.write_text(sound)
        helper.wait_for(LISTED, b"OK")
        wait_until(lambda: status(listed).rows.get("helper"), "the helper's row")
        before = journalled(listed)
        assert helper.ask(LISTED) == [b"OK"]
        wait_until(lambda: journalled(listed) > before, "the match in the journal")
        assert helper.process.pid == pid
        assert helper.process.poll() is None
        assert status(listed).rows["helper"]["level"] == 0
        assert "process-died" not in status(listed).rows
    finally:
        log = helper.close()
    assert ": critical: settings-refused: " in log
    assert "starting anew" in log


def test_fail_that_changes_counts_without_a_word_to_squid(listed: Installation) -> None:
    (listed.places.installed / "current").unlink()
    helper = HelperProcess(listed)
    try:
        assert helper.ask(LISTED) == [b"ERR"]
        change(listed, 'fail = "open"', 'fail = "closed"')
        helper.wait_for(LISTED, b"BH")
    finally:
        helper.close()


def test_settings_that_cannot_be_used_leave_the_old_ones(
    listed: Installation, helper: HelperProcess
) -> None:
    assert helper.ask(LISTED) == [b"OK"]
    begun = starts(helper)
    change(listed, 'fail = "open"', 'fail = "ajar"')
    wait_until(lambda: status(listed).level("settings"), "the mistake in status")
    assert helper.ask(LISTED) == [b"OK"]
    assert starts(helper) == begun
    assert "starting anew" not in helper.close()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("[helper]\n", "[helpr]\n", "there is no section [helpr]; did you mean [helper]?"),
        ("[helper]\n", "[xyzzy]\n", "there is no section [xyzzy]; the sections are"),
        ("[helper]\n", "[inkgate.helper]\n", "there is no section [inkgate]"),
        ("[helper]\n", "# [helper]\n", "[rules] Object contains unknown field `fail`"),
        ("[rules]\n", "[ruels]\n", "there is no section [ruels]; did you mean [rules]?"),
        ("[sightings]\n", "[sighting]\n", "there is no section [sighting]; did you mean"),
    ],
)
def test_section_without_its_name_leaves_the_old_settings(
    listed: Installation, old: str, new: str, said: str
) -> None:
    change(listed, 'fail = "open"', 'fail = "closed"')
    helper = HelperProcess(listed)
    try:
        assert helper.ask(LISTED) == [b"OK"]
        begun = starts(helper)
        change(listed, old, new)
        found = wait_for_now(listed, "settings-not-taken")
        assert found.level("settings-not-taken") == 1
        assert helper.ask(LISTED, "http://other.example/") == [b"OK", b"ERR"]
        assert starts(helper) == begun
        assert found.level("helper") == 0
        change(listed, new, old)
        wait_for_now(listed, "settings-not-taken", lasts=False)
    finally:
        log = helper.close()
    assert f": warning: settings-not-taken: {listed.config}: {said}" in log
    assert ": recovered: settings-not-taken: " in log
    assert "starting anew" not in log


@pytest.mark.parametrize("name", ["helpr", "HELPER", "xyzzy", "inkgate.helper"])
def test_section_that_may_be_the_helpers_is_no_leave_to_pass(
    listed: Installation, name: str
) -> None:
    """At a start: what `fail` said when the launcher was placed counts, and not its default."""
    change(listed, 'fail = "open"', 'fail = "closed"')
    (listed.places.installed / "current").unlink()
    change(listed, "[helper]\n", f"[{name}]\n")
    helper = HelperProcess(listed, "--unreadable", "closed")
    try:
        assert helper.ask(LISTED) == [b"BH"]
        assert status(listed).level("settings-refused") == 2
        listed.config.write_text(listed.config.read_text().replace(f"[{name}]\n", "[helper]\n"))
        wait_until(lambda: not status(listed).is_now("settings-refused"), "the mend to be taken")
        assert helper.ask(LISTED) == [b"BH"]
    finally:
        log = helper.close()
    assert ": critical: settings-refused: " in log
    assert f"[{name.partition('.')[0]}]" in log


def test_other_sections_start_nothing_anew(listed: Installation, helper: HelperProcess) -> None:
    assert helper.ask(LISTED) == [b"OK"]
    change(listed, 'organisation = "Example Ltd"', 'organisation = "Another Ltd"')
    listed.add("more", attribute("domain", "more.example"))
    listed.refresh()
    helper.wait_for("http://more.example/", b"OK")
    assert "starting anew" not in helper.close()


def test_half_a_line_is_read_to_its_end_by_whoever_began_it(
    listed: Installation, helper: HelperProcess
) -> None:
    assert helper.ask(LISTED) == [b"OK"]
    line = request(7, LISTED)
    helper.send(line[:9])
    change(listed, 'fail = "open"', 'fail = "closed"')
    (listed.places.installed / "current").unlink()
    begun = starts(helper)
    helper.send(line[9:])
    assert helper.read().split()[:2] == [b"7", b"OK"]
    helper.wait_for(LISTED, b"BH")
    assert starts(helper) > begun
    out, log = helper.end()
    assert out == b""
    assert log.count("starting anew") == 1


@pytest.mark.slow
def test_every_line_is_answered_once_while_settings_change(
    listed: Installation, helper: HelperProcess
) -> None:
    answered: list[int] = []
    for round_ in range(4):
        change(listed, "[helper]\n", f"[helper]\ndeadline_seconds = {50 + round_}\n")
        sound = listed.config.read_text()
        begun = starts(helper)
        while starts(helper) == begun:
            first = len(answered)
            numbers = range(first, first + 50)
            helper.send(*(request(n, f"http://h{n % 500}.example/") for n in numbers))
            answered += [int(helper.read().split()[0]) for _ in numbers]
        listed.config.write_text(sound.replace(f"deadline_seconds = {50 + round_}\n", ""))
        wait_until(lambda begun=begun: starts(helper) >= begun + 2, "the next start")
    assert sorted(answered) == list(range(len(answered)))
    assert helper.ask("http://listed.example/") == [b"OK"]
    assert helper.end()[0] == b""


def test_sigterm_ends_a_helper_whose_settings_have_just_changed(
    listed: Installation, helper: HelperProcess
) -> None:
    assert helper.ask(LISTED) == [b"OK"]
    line = request(7, LISTED)
    # Half a line keeps it from beginning anew.
    helper.send(line[:9])
    change(listed, 'fail = "open"', 'fail = "closed"')
    wait_until(lambda: _is_non_blocking(helper), "the helper to stop reading")
    helper.process.send_signal(signal.SIGTERM)
    helper.send(line[9:])
    assert helper.read().split()[:2] == [b"7", b"OK"]
    assert helper.process.wait(60) == 0


def _is_non_blocking(helper: HelperProcess) -> bool:
    """Whether its standard input is."""
    said = Path(f"/proc/{helper.process.pid}/fdinfo/0").read_text()
    return bool(int(re.search(r"flags:\s+(\d+)", said)[1], 8) & os.O_NONBLOCK)  # type: ignore[index]
