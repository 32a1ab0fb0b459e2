"""Requests that need derivations: deadline, bound, coalescing, and what stays quick."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator

import pytest

from support.helper_process import HelperProcess, request
from support.installation import BIN, SETTINGS, Installation, attribute


def installation_with(name_profile: str, helper: str) -> Installation:
    made = Installation(
        SETTINGS.replace('name = "test"', f"name = {name_profile}").replace(
            'fail = "open"', f'fail = "closed"\n{helper}'
        )
    )
    made.add("listed", attribute("domain", "listed.example"))
    made.refresh()
    return made


@pytest.fixture
def patient() -> Iterator[Installation]:
    made = installation_with('"test"', "workers = 1\npending = 40\ndeadline_seconds = 60")
    yield made
    made.close()


@pytest.fixture
def hasty() -> Iterator[Installation]:
    made = installation_with('"test"', "workers = 1\ndeadline_seconds = 0.1")
    yield made
    made.close()


def test_known_hosts_are_answered_while_new_ones_are_derived(patient: Installation) -> None:
    helper = HelperProcess(patient)
    assert helper.ask("http://known.example/") == [b"ERR"]
    with helper.held():
        helper.send(*(request(100 + n, f"http://new{n}.example/") for n in range(30)))
        assert helper.ask(*(f"http://known.example/{n}" for n in range(20))) == [b"ERR"] * 20
    assert {int(helper.read().split(b" ")[0]) for _ in range(30)} == set(range(100, 130))
    helper.close()


def test_one_value_wanted_by_many_requests_is_derived_once(patient: Installation) -> None:
    helper = HelperProcess(patient)
    helper.ask("http://known.example/")
    before = helper.derivations
    with helper.held():
        helper.send(*(request(100 + n, f"http://one.example/{n}") for n in range(39)))
        # Answered after all of these were read.
        assert helper.ask("http://known.example/last") == [b"ERR"]
    assert {int(helper.read().split(b" ")[0]) for _ in range(39)} == set(range(100, 139))
    assert helper.derivations == before + 1
    helper.close()


def test_beyond_the_bound_fail_decides_at_once(patient: Installation) -> None:
    helper = HelperProcess(patient)
    helper.ask("http://known.example/")
    with helper.held():
        helper.send(*(request(n, f"http://new{n}.example/") for n in range(200)))
        refused = [helper.read().split(b" ")[:2] for _ in range(160)]
    assert sorted(refused) == sorted([b"%d" % n, b"BH"] for n in range(40, 200))
    derived = [helper.read().split(b" ")[:2] for _ in range(40)]
    assert sorted(derived) == sorted([b"%d" % n, b"ERR"] for n in range(40))
    # Nothing is wrong afterwards.
    assert helper.ask("http://listed.example/", "http://new199.example/") == [b"OK", b"ERR"]
    helper.close()


@pytest.mark.parametrize(("fail", "verdict"), [("open", b"ERR"), ("closed", b"BH")])
@pytest.mark.slow
def test_deadline_makes_fail_decide(hasty: Installation, fail: str, verdict: bytes) -> None:
    helper = HelperProcess(hasty, "--fail", fail)
    with helper.held():
        assert helper.ask(*(f"http://new{n}.example/" for n in range(3))) == [verdict] * 3
        # Nor does the same host wait once more for what is not derived yet.
        assert helper.ask("http://new0.example/") == [verdict]
    # What is derived after the deadline is known from then on.
    helper.wait_for("http://new0.example/", b"ERR")
    helper.close()


@pytest.mark.slow
def test_match_after_the_deadline_is_journalled_and_not_answered_again(
    hasty: Installation,
) -> None:
    helper = HelperProcess(hasty)
    with helper.held():
        assert helper.ask("http://listed.example/") == [b"BH"]
    out, said = helper.end()
    assert out == b""
    (record,) = map(
        json.loads, hasty.run("inkgate-sightings", "list", "--json").stdout.split("\n")[:-1]
    )
    assert f"critical: late-match: {record['incident']}: " in said


def test_derivations_nobody_waits_for_any_more_are_not_made(hasty: Installation) -> None:
    helper = HelperProcess(hasty)
    with helper.held():
        assert helper.ask(*(f"http://new{n}.example/" for n in range(100))) == [b"BH"] * 100
    helper.close()
    # Those that were handed over before the deadline.
    assert helper.derivations < 10


@pytest.mark.slow
def test_busy_machine_does_not_starve_derivations() -> None:
    # About 0.8 ms for one derivation.
    profile = '{ algorithm = "pbkdf2", hash = "sha256", iterations = 2000 }'
    installation = installation_with(profile, "workers = 1\ndeadline_seconds = 10")
    helper = HelperProcess(installation)
    helper.ask("http://known.example/")
    busy = [
        subprocess.Popen([BIN / "python", "-c", "while True: pass"])
        for _ in range(2 * len(os.sched_getaffinity(0)))
    ]
    try:
        # Giving way to all of these, a sixth of a second of work would take longer than the
        # deadline. A client that asks for more at once is a flood, for which nobody hurries.
        assert helper.ask(*(f"http://new{n}.example/" for n in range(200))) == [b"ERR"] * 200
    finally:
        for process in busy:
            process.kill()
            process.wait()
    helper.close()
    installation.close()
