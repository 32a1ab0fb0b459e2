"""Verdicts on replies, remembered: who finds them, for how long, and what a thief finds."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from inkgate.health.monitor import Monitor, unwatched
from inkgate.rules.canonical.classes import CLASSES
from inkgate.rules.errors import PackError
from inkgate.rules.lookup import remembered as module
from inkgate.rules.lookup.matcher import Match, Matcher, Opener
from inkgate.rules.lookup.observed import Observed
from inkgate.rules.lookup.remembered import NOTHING, Before, Remembered, Times
from inkgate.rules.lookup.verdict_store import FILE, FILE_BYTES, SEALED_BYTES, Entry, VerdictStore
from support.installation import Installation, attribute

PAGE = "http://www.Shop.example:8080/a/b?c=1"
MINUTE = 60.0
TIMES = Times(server=MINUTE, cache=MINUTE, file=MINUTE)


@pytest.fixture(scope="module")
def listed() -> Iterator[Installation]:
    installation = Installation()
    installation.add(
        "listed",
        attribute("ip-dst", "192.0.2.7"),
        attribute("ip-dst|port", "192.0.2.8|8080"),
        attribute("sha256", "1" * 64),
    )
    installation.refresh()
    yield installation
    installation.close()


@pytest.fixture
def matcher(listed: Installation) -> Iterator[Matcher]:
    matcher = listed.matcher()
    with closing(matcher.generation):
        yield matcher


@pytest.fixture
def said() -> list[str]:
    return []


def opened(folder: Path, matcher: Matcher, said: list[str]) -> Remembered:
    """What another process has."""
    store = VerdictStore(folder, unwatched(said.append))
    return Remembered(store, matcher, TIMES)


def match(matcher: Matcher, name: str, kind: str, data: bytes) -> tuple[Match, ...]:
    found = matcher.look_up(name, kind, data)
    assert found is not None
    return (found,)


def by_address(matcher: Matcher) -> tuple[Match, ...]:
    return match(matcher, "ip-dst", "ip", b"192.0.2.7")


def by_digest(matcher: Matcher) -> tuple[Match, ...]:
    return match(matcher, "sha256", "digest", b"1" * 64)


def text(spelled: bytes) -> str:
    return spelled.decode()


def test_host_of_a_listed_address_is_known_to_all_processes(
    tmp_path: Path, matcher: Matcher, said: list[str]
) -> None:
    one, other = opened(tmp_path, matcher, said), opened(tmp_path, matcher, said)
    assert other.store.is_empty
    one.keep_server(Observed("GET", PAGE), by_address(matcher))
    assert not other.store.is_empty
    for spelled in (b"http://www.shop.example:8080", b"HTTP://WWW.SHOP.EXAMPLE.:8080"):
        assert other.may_hold(spelled, text)
    assert not other.may_hold(b"http://fine.example", text)
    for method, uri in (("GET", PAGE), ("GET", "http://www.shop.example/"), ("POST", PAGE)):
        (found,) = other.of_request(Observed(method, uri)).matches
        assert found == by_address(matcher)[0]
    assert other.of_request(Observed("CONNECT", "www.shop.example:443")).matches
    for uri in ("http://shop.example/", "http://a.www.shop.example/", "http://fine.example/"):
        assert other.of_request(Observed("GET", uri)) == NOTHING
    assert said == []


def test_address_with_port_counts_for_that_port(
    tmp_path: Path, matcher: Matcher, said: list[str]
) -> None:
    remembered = opened(tmp_path, matcher, said)
    found = matcher.server_address("192.0.2.8", None, 8080)
    assert [one.indicator_class for one in found] == ["ip-dst|port"]
    remembered.keep_server(Observed("GET", PAGE), found)
    assert remembered.of_request(Observed("GET", PAGE)) == Before(found)
    assert remembered.of_request(Observed("GET", "http://www.shop.example/")) == NOTHING


def test_listed_file_is_known_by_its_url_and_its_parts_by_their_validator(
    tmp_path: Path, matcher: Matcher, said: list[str]
) -> None:
    one, other = opened(tmp_path, matcher, said), opened(tmp_path, matcher, said)
    one.keep_file(Observed("GET", PAGE), (b'etag "7"',), by_digest(matcher))
    assert other.of_request(Observed("GET", PAGE)) == Before(by_digest(matcher))
    for uri in (
        "http://www.shop.example:8080/a/b?c=2",
        "http://www.shop.example:8080/",
        "http://www.shop.example/a/b?c=1",
    ):
        assert other.of_request(Observed("GET", uri)) == NOTHING
    again = Observed("GET", "http://www.shop.example:8080/mirror?d=4")
    assert other.of_part(again, (b'etag "7"',)) == by_digest(matcher)
    assert not other.of_part(again, (b'etag "8"',))
    assert not other.of_part(Observed("GET", "http://fine.example/a"), (b'etag "7"',))


def test_rule_that_is_gone_or_logs_only_blocks_no_more(tmp_path: Path, said: list[str]) -> None:
    installation = Installation()
    try:
        for configured, is_blocked in (
            ({"value": "192.0.2.7"}, True),
            ({"value": "192.0.2.7", "logged": True}, False),
            ({"value": "192.0.2.9"}, False),
        ):
            if configured.get("logged"):
                installation.configure('action = "log"')
            installation.add("listed", attribute("ip-dst", str(configured["value"])))
            installation.refresh()
            matcher = installation.matcher()
            with closing(matcher.generation):
                remembered = opened(tmp_path, matcher, said)
                if is_blocked:
                    remembered.keep_server(Observed("GET", PAGE), by_address(matcher))
                found = remembered.of_request(Observed("GET", PAGE))
                assert bool(found.matches) is is_blocked
                assert found.asks_server is False
    finally:
        installation.close()


def test_canaries_and_rules_that_log_are_not_remembered(
    tmp_path: Path, matcher: Matcher, said: list[str]
) -> None:
    remembered = opened(tmp_path, matcher, said)
    (found,) = by_address(matcher)
    for message in (
        type(found.message)("log", found.message.attributes),
        type(found.message)("block", found.message.attributes, canary=True),
    ):
        remembered.keep_server(Observed("GET", PAGE), [found._replace(message=message)])
    assert remembered.store.is_empty


@pytest.mark.parametrize("jump", [2 * MINUTE, -365 * 86_400.0, 365 * 86_400.0])
def test_nothing_counts_after_its_time_whatever_the_clock_does(
    tmp_path: Path,
    matcher: Matcher,
    said: list[str],
    monkeypatch: pytest.MonkeyPatch,
    jump: float,
) -> None:
    remembered = opened(tmp_path, matcher, said)
    remembered.keep_server(Observed("GET", PAGE), by_address(matcher))
    assert remembered.of_request(Observed("GET", PAGE)).matches
    then = time.time() + jump
    monkeypatch.setattr(time, "time", lambda: then)
    assert remembered.of_request(Observed("GET", PAGE)) == NOTHING
    remembered.store.look(MINUTE)
    assert remembered.store.is_empty
    # Nor does it keep what comes later from counting.
    remembered.keep_server(Observed("GET", PAGE), by_address(matcher))
    assert remembered.of_request(Observed("GET", PAGE)).matches


def test_host_may_be_asked_again_soon_but_no_cache_for_it(
    tmp_path: Path, matcher: Matcher, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = VerdictStore(tmp_path, unwatched(said.append))
    remembered = Remembered(store, matcher, Times(server=MINUTE, cache=10 * MINUTE, file=MINUTE))
    remembered.keep_server(Observed("GET", PAGE), by_address(matcher))
    now = time.time()
    for seconds, known in (
        (0.5 * MINUTE, Before(by_address(matcher))),
        (1.5 * MINUTE, Before(asks_server=True)),
        (9.5 * MINUTE, Before(asks_server=True)),
        (10.5 * MINUTE, NOTHING),
    ):
        monkeypatch.setattr(time, "time", lambda then=now + seconds: then)
        assert remembered.of_request(Observed("GET", PAGE)) == known


@pytest.mark.parametrize("seconds", [0.0, MINUTE])
def test_zero_remembers_nothing(
    tmp_path: Path, matcher: Matcher, said: list[str], seconds: float
) -> None:
    store = VerdictStore(tmp_path, unwatched(said.append))
    remembered = Remembered(store, matcher, Times(seconds, seconds, 0))
    remembered.keep_file(Observed("GET", PAGE), (), by_digest(matcher))
    assert store.is_empty
    remembered.keep_server(Observed("GET", PAGE), by_address(matcher))
    assert store.is_empty is not bool(seconds)


def test_thief_finds_neither_hosts_nor_rules(
    tmp_path: Path, matcher: Matcher, said: list[str]
) -> None:
    remembered = opened(tmp_path, matcher, said)
    remembered.keep_server(Observed("GET", PAGE), by_address(matcher))
    remembered.keep_file(Observed("GET", PAGE), (b'etag "7"',), by_digest(matcher))
    path = tmp_path / FILE
    assert path.stat().st_mode & 0o777 == 0o600
    data = path.read_bytes()
    assert len(data) == FILE_BYTES
    for found in (*by_address(matcher), *by_digest(matcher)):
        assert found.opener is not None
        for secret in (*found.opener, found.indicator_class.encode(), b"shop", b"etag"):
            assert secret not in data
    # Nor whoever has another token's key, or looks for another host with this one.
    other = opened(tmp_path, matcher, said)
    other._key = bytes(32)
    assert other.of_request(Observed("GET", PAGE)) == NOTHING


def test_damaged_entries_are_none(tmp_path: Path, matcher: Matcher, said: list[str]) -> None:
    remembered = opened(tmp_path, matcher, said)
    remembered.keep_server(Observed("GET", PAGE), by_address(matcher))
    path = tmp_path / FILE
    data = bytearray(path.read_bytes())
    places = [n for n in range(4096, len(data)) if data[n]]
    rng = range(places[0], places[-1], 7)
    with path.open("r+b") as file:
        for at in rng:
            file.seek(at)
            file.write(bytes([data[at] ^ 255]))
    assert remembered.of_request(Observed("GET", PAGE)) == NOTHING


def test_full_table_gives_up_what_is_over_first_and_says_so(tmp_path: Path) -> None:
    said: list[str] = []
    store = VerdictStore(tmp_path, unwatched(said.append))
    store.look(MINUTE)
    now = int(time.time())
    # All in one row.
    tags = [bytes(4) + n.to_bytes(12, "big") for n in range(9)]
    for n, tag in enumerate(tags[:8]):
        store.put(tag, Entry(now + 50 - n, bytes(SEALED_BYTES)))
    store.put(tags[0], Entry(now + 59, bytes(SEALED_BYTES)))
    assert said == []
    store.put(tags[8], Entry(now + 50, bytes(SEALED_BYTES)))
    assert [bool(store.get(tag)) for tag in tags] == [True] * 7 + [False, True]
    assert ": verdicts-pushed-out: " in said[0]


@pytest.mark.parametrize("fault", ["deleted", "moved", "cut", "replaced by a link"])
def test_file_that_is_gone_is_noticed_and_begun_anew(
    tmp_path: Path, matcher: Matcher, fault: str
) -> None:
    said: list[str] = []
    one, other = (opened(tmp_path / "keys", matcher, said) for _ in range(2))
    path = tmp_path / "keys" / FILE
    outside = tmp_path / "outside"
    outside.write_bytes(b"mine")
    if fault == "moved":
        path.rename(tmp_path / "elsewhere")
    elif fault == "cut":
        os.truncate(path, 0)
    else:
        path.unlink()
        if fault == "replaced by a link":
            path.symlink_to(outside)
    for remembered in (one, other):
        remembered.store.look(MINUTE)
    # A file that was cut is whole again for all, as soon as one has noticed.
    times = 1 if fault == "cut" else 2
    assert [": verdicts-moved: " in line for line in said] == [True] * times
    one.keep_server(Observed("GET", PAGE), by_address(matcher))
    assert other.of_request(Observed("GET", PAGE)).matches
    assert outside.read_bytes() == b"mine"
    for remembered in (one, other):
        remembered.store.look(MINUTE)
    assert len(said) == times


def test_folder_that_cannot_be_used_leaves_each_process_its_own(
    tmp_path: Path, matcher: Matcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monitor: Monitor = unwatched(said.append)
    (tmp_path / FILE).mkdir()
    store = VerdictStore(tmp_path, monitor)
    remembered = Remembered(store, matcher, TIMES)
    assert ": verdicts-not-shared: " in said[0]
    remembered.keep_server(Observed("GET", PAGE), by_address(matcher))
    assert remembered.of_request(Observed("GET", PAGE)).matches
    (tmp_path / FILE).rmdir()
    later = time.monotonic() + 31
    monkeypatch.setattr(time, "monotonic", lambda: later)
    store.look(MINUTE)
    assert "recovered: verdicts-not-shared: " in said[-1]


def test_names_of_classes_have_room() -> None:
    opener = Opener(bytes(32), bytes(32))
    assert module._CLASS_BYTES + 8 + len(b"".join(opener)) + 28 == SEALED_BYTES
    assert max(map(len, CLASSES)) <= module._CLASS_BYTES


def test_host_is_blocked_for_the_client_that_met_the_address_alone(
    tmp_path: Path, matcher: Matcher, said: list[str]
) -> None:
    """Behind an intercepting port a client chooses the address that goes with any host."""
    remembered = opened(tmp_path, matcher, said)
    remembered.keep_server(Observed("GET", PAGE), by_address(matcher), b"192.0.2.200")
    assert remembered.of_request(Observed("GET", PAGE), b"192.0.2.200").matches
    # Others get no answer from the cache, and are judged by the server that answers.
    assert remembered.of_request(Observed("GET", PAGE), b"192.0.2.201") == Before(asks_server=True)


def test_clock_that_was_wrong_for_a_while_hides_nothing_afterwards(
    tmp_path: Path, matcher: Matcher, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    remembered = opened(tmp_path, matcher, said)
    remembered.keep_server(Observed("GET", PAGE), by_address(matcher))
    real = time.time
    for jump in (365 * 86_400, -86_400):
        with monkeypatch.context() as patched:
            now = partial(_ahead, real, jump)
            patched.setattr("inkgate.rules.lookup.verdict_store.time.time", now)
            remembered.store.look(remembered.times.longest)
            assert remembered.store.is_empty
        remembered.store.look(remembered.times.longest)
        assert not remembered.store.is_empty
        assert remembered.of_request(Observed("GET", PAGE)).matches


def test_damaged_rule_that_is_remembered_hides_no_sound_one(
    tmp_path: Path, matcher: Matcher, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    remembered = opened(tmp_path, matcher, said)
    remembered.keep_server(Observed("GET", PAGE), by_address(matcher))
    remembered.keep_file(Observed("GET", PAGE), (), by_digest(matcher))
    sound = matcher.reopen

    def damaged(name: str, opener: Opener) -> Match | None:
        if name == "ip-dst":
            raise PackError("bad-rules", "a rule is damaged", "install a sound pack")
        return sound(name, opener)

    monkeypatch.setattr(matcher, "reopen", damaged)
    assert remembered.of_request(Observed("GET", PAGE)).matches == by_digest(matcher)
    other = PAGE + "?other"
    assert remembered.of_request(Observed("GET", other)) == Before(asks_server=True)
    assert any("rule-damaged" in line for line in said)


def test_file_that_was_cut_and_cannot_be_made_anew_ends_no_process(
    tmp_path: Path, matcher: Matcher, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    remembered = opened(tmp_path, matcher, said)
    remembered.keep_server(Observed("GET", PAGE), by_address(matcher))

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("inkgate.rules.lookup.verdict_store.os.posix_fallocate", full)
    os.truncate(next(tmp_path.rglob(FILE)), 0)
    # Without the mend this ends the test's own process.
    remembered.store.look(remembered.times.longest)
    assert remembered.of_request(Observed("GET", PAGE)) == NOTHING
    remembered.keep_server(Observed("GET", PAGE), by_address(matcher))
    assert remembered.of_request(Observed("GET", PAGE)).matches
    assert any("verdicts-not-shared" in line for line in said)


def _ahead(clock: Callable[[], float], seconds: float) -> float:
    return clock() + seconds
