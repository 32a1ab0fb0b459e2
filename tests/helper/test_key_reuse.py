"""What was derived once: other children, restarts, refreshes and epochs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import lmdb
import pytest

from support.counts import is_warming_up
from support.helper_process import HelperProcess
from support.installation import Installation, attribute
from support.waiting import wait_until

HOSTS = [f"http://www.host{n}.example/" for n in range(25)]


@pytest.fixture
def listed(installation: Installation) -> Iterator[Installation]:
    # Gates so wide that no host passes one by chance when an indicator is added.
    text = installation.config.read_text()
    installation.config.write_text(text.replace("[helper]", "epsilon = 0.0001\n[helper]"))
    installation.add(
        "listed", attribute("domain", "listed.example"), attribute("url", "http://a.example/b")
    )
    installation.refresh()
    return installation


def publish(installation: Installation, name: str, **options: bool) -> None:
    installation.add(name, attribute("domain", f"{name}.example"))
    installation.refresh(**options)


def kept_keys(installation: Installation) -> int:
    """How many keys the cache on disk holds, without the one by which it was tried."""
    (path,) = installation.places.key_cache.glob("*.mdb")
    with lmdb.open(str(path), subdir=False, readonly=True) as env:
        return int(env.stat()["entries"]) - 1


def make_hot(helper: HelperProcess) -> None:
    """Ask until each of the hosts, an odd number, was in the sample: one batch of 16."""
    for _ in range(16):
        for url in HOSTS:
            assert helper.ask(url) == [b"ERR"]


def test_second_child_derives_nothing(listed: Installation) -> None:
    first, second = HelperProcess(listed), HelperProcess(listed)
    assert first.ask(*HOSTS) == [b"ERR"] * 25
    assert first.derivations >= 25
    wait_until(lambda: kept_keys(listed) == first.derivations, "all keys in the cache")
    assert second.ask(*HOSTS) == [b"ERR"] * 25
    assert second.derivations == 0
    first.close()
    second.close()


def test_restart_derives_nothing(listed: Installation) -> None:
    before = HelperProcess(listed)
    before.ask(*HOSTS)
    before.close()
    after = HelperProcess(listed)
    assert after.ask(*HOSTS) == [b"ERR"] * 25
    assert after.derivations == 0
    after.close()


@pytest.mark.slow
def test_refresh_in_the_same_epoch_derives_nothing(listed: Installation) -> None:
    helper = HelperProcess(listed)
    helper.ask(*HOSTS)
    publish(listed, "added")
    helper.wait_for("http://added.example/", b"OK")
    made = helper.derivations
    assert helper.ask(*HOSTS, "http://added.example/") == [b"ERR"] * 25 + [b"OK"]
    assert helper.derivations == made
    helper.close()


@pytest.mark.slow
def test_new_epoch_is_used_when_the_hottest_names_are_derived(listed: Installation) -> None:
    helper = HelperProcess(listed)
    make_hot(helper)
    publish(listed, "added", new_epoch=True)
    helper.wait_for("http://added.example/", b"OK")
    made = helper.derivations
    assert made >= 50
    assert helper.ask(*HOSTS) == [b"ERR"] * 25
    assert helper.derivations == made
    helper.close()


@pytest.mark.slow
def test_one_of_two_children_derives_for_a_new_epoch(listed: Installation) -> None:
    text = listed.config.read_text()
    listed.config.write_text(text.replace('fail = "open"', 'fail = "open"\nwarm_up_seconds = 60'))
    helpers = [HelperProcess(listed), HelperProcess(listed)]
    for helper in helpers:
        make_hot(helper)
    before = sum(helper.derivations for helper in helpers)
    # A hot host, so that no other name is asked for to see which rules are in use.
    listed.add("host3", attribute("domain", "host3.example"))
    with helpers[0].held(), helpers[1].held():
        listed.refresh(new_epoch=True)
        for helper in helpers:
            wait_until(lambda helper=helper: helper.counts.openings == 2, "the new rule set")
        wait_until(lambda: is_warming_up(listed), "somebody who warms up")
    for helper in helpers:
        helper.wait_for(HOSTS[3], b"OK")
        assert helper.ask(HOSTS[4]) == [b"ERR"]
        helper.close()
    # Without the lock, both derive the first name. The one more is www.host3.example.
    assert sum(helper.derivations for helper in helpers) - before == len(HOSTS) + 1


@pytest.mark.slow
def test_new_epoch_waits_no_longer_than_it_may(listed: Installation) -> None:
    text = listed.config.read_text()
    listed.config.write_text(text.replace('fail = "open"', 'fail = "open"\nwarm_up_seconds = 0.5'))
    helper = HelperProcess(listed)
    make_hot(helper)
    # The new epoch's derivations take a fifth of a second or more.
    slow = '{ algorithm = "pbkdf2", hash = "sha256", iterations = 1000000 }'
    listed.config.write_text(listed.config.read_text().replace('name = "test"', f"name = {slow}"))
    before = helper.derivations
    publish(listed, "added", new_epoch=True)
    helper.wait_for("http://added.example/", b"OK")
    # Not all of the hosts'. The one more is of the request that was waited for.
    assert before < helper.derivations < before + 15
    helper.close()


@pytest.mark.parametrize("new_epoch", [False, True])
@pytest.mark.slow
def test_hot_and_clean_host_that_becomes_listed_is_blocked(
    listed: Installation, new_epoch: bool
) -> None:
    helper = HelperProcess(listed)
    make_hot(helper)
    listed.add("host3", attribute("domain", "host3.example"))
    listed.add("url", attribute("url", "http://www.host4.example/bad"))
    listed.refresh(new_epoch=new_epoch)
    helper.wait_for(HOSTS[3], b"OK")
    assert helper.ask(HOSTS[4], HOSTS[4] + "bad", HOSTS[5]) == [b"ERR", b"OK", b"ERR"]
    helper.close()


@pytest.mark.slow
def test_old_generations_are_let_go_of(listed: Installation) -> None:
    helper = HelperProcess(listed)
    helper.ask(*HOSTS)
    for number in range(4):
        publish(listed, f"added{number}", new_epoch=number % 2 == 1)
        helper.wait_for(f"http://added{number}.example/", b"OK")
        helper.ask(*HOSTS)
    # The helper answers before its threads have put down what they answered from.
    wait_until(lambda: mapped(helper) == (1, 1), "one generation and one key cache in memory")
    helper.close()


def mapped(helper: HelperProcess) -> tuple[int, int]:
    """How many generations and key caches the helper has in memory."""
    lines = Path(f"/proc/{helper.process.pid}/maps").read_text().splitlines()
    paths = {line.split()[5] for line in lines if line.count(" /")}
    keys = [path for path in paths if "/keys/" in path and path.endswith(".mdb")]
    return len([path for path in paths if path.endswith("rules.mdb")]), len(keys)
