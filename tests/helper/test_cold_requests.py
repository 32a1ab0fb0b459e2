"""Requests that need derivations: deadline, bound, coalescing, and what stays quick."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import time
from collections.abc import Iterator

import pytest

from support.helper_process import HelperProcess, request
from support.installation import BIN, SETTINGS, Installation, attribute

# About 20 and 400 ms for one derivation.
_SLOW = '{ algorithm = "pbkdf2", hash = "sha256", iterations = 50000 }'
_VERY_SLOW = '{ algorithm = "pbkdf2", hash = "sha256", iterations = 1000000 }'


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
def slow() -> Iterator[Installation]:
    made = installation_with(_SLOW, "workers = 1\npending = 40\ndeadline_seconds = 60")
    yield made
    made.close()


@pytest.fixture
def hasty() -> Iterator[Installation]:
    made = installation_with(_VERY_SLOW, "workers = 1\ndeadline_seconds = 0.1")
    yield made
    made.close()


def test_known_hosts_are_answered_while_new_ones_are_derived(slow: Installation) -> None:
    helper = HelperProcess(slow)
    assert helper.ask("http://known.example/") == [b"ERR"]
    cold = 30
    helper.send(*(request(100 + n, f"http://new{n}.example/") for n in range(cold)))
    waits = []
    for n in range(20):
        started = time.perf_counter()
        helper.send(request(n, f"http://known.example/{n}"))
        # Nothing that is derived can come first more often than now and then.
        while int(helper.read().split(b" ")[0]) >= 100:
            cold -= 1
        waits.append(time.perf_counter() - started)
    assert cold > 0, "the new hosts were not slow enough to show anything"
    assert statistics.median(waits) < 0.02
    assert len([helper.read() for _ in range(cold)]) == cold
    helper.close()


def test_one_value_wanted_by_many_requests_is_derived_once(slow: Installation) -> None:
    helper = HelperProcess(slow)
    urls = [f"http://one.example/{n}" for n in range(40)]
    assert helper.ask(*urls) == [b"ERR"] * 40
    assert helper.derivations == 1
    helper.close()


def test_beyond_the_bound_fail_decides_at_once(slow: Installation) -> None:
    helper = HelperProcess(slow)
    helper.ask("http://known.example/")
    verdicts = helper.ask(*(f"http://new{n}.example/" for n in range(200)))
    assert verdicts[:40] == [b"ERR"] * 40
    assert verdicts[40:] == [b"BH"] * 160
    # Nothing is wrong afterwards.
    assert helper.ask("http://listed.example/", "http://new199.example/") == [b"OK", b"ERR"]
    helper.close()


@pytest.mark.parametrize(("fail", "verdict"), [("open", b"ERR"), ("closed", b"BH")])
def test_deadline_makes_fail_decide(hasty: Installation, fail: str, verdict: bytes) -> None:
    helper = HelperProcess(hasty, "--fail", fail)
    helper.send(*(request(n, f"http://new{n}.example/") for n in range(3)))
    answers = {helper.read().split(b" ")[0] for _ in range(3)}
    assert answers == {b"0", b"1", b"2"}
    # However slow the machine: not all had been derived by then.
    assert helper.derivations < 3
    helper.send(request(7, "http://new0.example/"))
    assert helper.read().startswith(b"7 " + verdict)
    helper.close()


def test_match_after_the_deadline_is_journalled_and_not_answered_again(
    hasty: Installation,
) -> None:
    helper = HelperProcess(hasty)
    helper.send(request(1, "http://listed.example/"))
    assert helper.read().startswith(b"1 BH")
    out, said = helper.process.communicate(timeout=60)
    assert out == b""
    (record,) = map(
        json.loads, hasty.run("inkgate-sightings", "list", "--json").stdout.split("\n")[:-1]
    )
    assert f"the match of {record['incident']} came after" in said.decode()


def test_derivations_nobody_waits_for_any_more_are_not_made(hasty: Installation) -> None:
    helper = HelperProcess(hasty)
    helper.send(*(request(n, f"http://new{n}.example/") for n in range(100)))
    for _ in range(100):
        helper.read()
    helper.close()
    assert helper.derivations < 10


def test_busy_machine_does_not_starve_derivations() -> None:
    # About 0.8 ms for one derivation.
    profile = '{ algorithm = "pbkdf2", hash = "sha256", iterations = 2000 }'
    installation = installation_with(profile, "workers = 1\ndeadline_seconds = 20")
    helper = HelperProcess(installation)
    helper.ask("http://known.example/")
    busy = [
        subprocess.Popen([BIN / "python", "-c", "while True: pass"])
        for _ in range(2 * len(os.sched_getaffinity(0)))
    ]
    try:
        # Giving way to all of these, half a second of work would take longer than the deadline.
        assert helper.ask(*(f"http://new{n}.example/" for n in range(600))) == [b"ERR"] * 600
    finally:
        for process in busy:
            process.kill()
            process.wait()
    helper.close()
    installation.close()
