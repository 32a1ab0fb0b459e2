"""Everything that the helper remembers has a limit, and never says too much."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import Mock

import lmdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inkgate.helper.clean_fields import CleanFields
from inkgate.helper.rules_in_use import HelperRules, HotFields
from inkgate.rules.crypto.key_cache import KeyCache
from inkgate.rules.lookup.hottest import HotParts, Hottest
from inkgate.rules.lookup.remembered import Remembered
from inkgate.rules.lookup.rule_set import OpenRuleSet
from inkgate.rules.lookup.stretching import CachedStretch
from inkgate.rules.lookup.verdict_store import VerdictStore
from inkgate.rules.lookup.verdicts import Findings

CLEAN = Findings((), clean_host=True, clean_server=True, clean_agent=True)


def test_key_cache_on_disk_never_outgrows_its_limit(tmp_path: Path) -> None:
    keys = KeyCache(tmp_path, "00" * 16, 1 << 20)
    for start in range(0, 40_000, 16):
        batch = [("name", b"host%d" % n, b"%032d" % n) for n in range(start, start + 16)]
        keys.put_many(batch)
        assert keys.get("name", b"host%d" % (start + 15)) == b"%032d" % (start + 15)
    (path,) = tmp_path.glob("*.mdb")
    assert path.stat().st_size <= 1 << 20
    keys.close()


def test_failing_key_cache_is_left_out(tmp_path: Path) -> None:
    keys = KeyCache(tmp_path, "00" * 16, 1 << 20)
    why: list[lmdb.Error] = []
    stretch = CachedStretch(
        lambda _kind, data: data.ljust(32), keys, 10, lambda error, _: why.append(error)
    )
    assert stretch("name", b"a") == b"a".ljust(32)
    assert not why
    keys.close()
    assert stretch("name", b"b") == b"b".ljust(32)
    assert stretch.cached("name", b"c") is None
    assert len(why) == 1
    assert not stretch.has_disk
    stretch.attach(KeyCache(tmp_path, "00" * 16, 1 << 20))
    assert stretch("name", b"d") == b"d".ljust(32)
    assert len(why) == 1


@given(st.lists(st.binary(max_size=2)))
def test_hottest_is_bounded(keys: list[bytes]) -> None:
    hottest = Hottest(16)
    for key in keys:
        hottest.count(key)
        assert len(hottest) <= 16


def test_hottest_are_found_among_many() -> None:
    hottest = Hottest(100)
    for number in range(20_000):
        hottest.count(b"hot%d" % (number % 10))
        hottest.count(b"rare%d" % number)
    assert {key for key, _ in hottest.most(10)} == {b"hot%d" % n for n in range(10)}


def test_hottest_come_first_whatever_they_are() -> None:
    hot = HotParts(2)
    for part, spelled, times in (
        ("host", b"rare", 1),
        ("host", b"second", 5),
        ("server", b"third", 3),
        ("agent", b"first", 9),
        ("host", b"fourth", 2),
        ("agent", b"", 20),
        ("server", b"x" * 400, 20),
    ):
        for _ in range(times):
            hot.count(part, spelled)
    assert list(hot.most()) == [
        ("agent", b"first"),
        ("host", b"second"),
        ("server", b"third"),
        ("host", b"fourth"),
    ]


def fields(method: bytes, uri: bytes, server: bytes = b"-", agent: bytes = b"-") -> list[bytes]:
    return [b"1", method, uri, b"192.0.2.1", server, agent, b"-"]


@pytest.mark.parametrize(
    ("method", "uri", "remembered"),
    [
        (b"GET", b"http://a.example/x", True),
        (b"CONNECT", b"a.example:443", True),
        # Another port for CONNECT than for GET.
        (b"CONNECT", b"a.example", False),
        (b"GET", b"a.example", False),
        (b"GET", b"//a.example", False),
        (b"GET", b"a.example:443", False),
        (b"GET", b"http://" + b"a" * 400 + b"/", False),
    ],
)
def test_only_what_the_key_says_is_remembered(method: bytes, uri: bytes, remembered: bool) -> None:
    clean = CleanFields(100)
    clean.remember(fields(method, uri), CLEAN)
    assert (len(clean.hosts) == 1) is remembered


def test_clean_part_says_nothing_of_the_others() -> None:
    clean = CleanFields(100)
    clean.remember(fields(b"GET", b"http://a.example/", b"192.0.2.1", b"good"), CLEAN)
    assert clean.covers(fields(b"GET", b"http://a.example/x", b"192.0.2.1", b"good"))
    assert clean.covers(fields(b"GET", b"http://a.example/x", b"-", b"good"))
    assert not clean.covers(fields(b"GET", b"http://a.example/x", b"192.0.2.2", b"good"))
    assert not clean.covers(fields(b"GET", b"http://a.example/x", b"192.0.2.1", b"evil"))
    assert not clean.covers(fields(b"GET", b"http://b.example/x", b"192.0.2.1", b"good"))
    assert not clean.covers(fields(b"GET", b"https://a.example/x", b"192.0.2.1", b"good"))


def test_host_that_may_be_listed_with_an_address_is_clean_only_without_one() -> None:
    clean = CleanFields(100)
    by_server = fields(b"GET", b"http://a.example/", b"192.0.2.1", b"good")
    clean.remember(by_server, CLEAN._replace(by_server=True))
    clean.remember(fields(b"GET", b"http://b.example/", b"192.0.2.2", b"good"), CLEAN)
    assert clean.covers(fields(b"GET", b"http://a.example/x", b"-", b"good"))
    for server in (b"192.0.2.1", b"192.0.2.2"):
        assert not clean.covers(fields(b"GET", b"http://a.example/x", server, b"good"))
        assert clean.covers(fields(b"GET", b"http://b.example/x", server, b"good"))


def test_server_that_no_host_is_listed_with_is_clean_with_all_of_them() -> None:
    clean = CleanFields(100)

    def seen(host: bytes, server: bytes) -> list[bytes]:
        return fields(b"GET", b"http://" + host + b"/", server, b"good")

    of_pairs = CLEAN._replace(by_server=True)
    clean.remember(seen(b"a.example", b"192.0.2.1"), of_pairs._replace(unpaired=True))
    # A host that is in no pair asks nothing of the address, and takes nothing back.
    clean.remember(seen(b"b.example", b"192.0.2.1"), CLEAN)
    clean.remember(seen(b"c.example", b"192.0.2.2"), of_pairs)
    assert clean.covers(seen(b"a.example", b"192.0.2.1"))
    assert clean.covers(seen(b"c.example", b"192.0.2.1"))
    assert not clean.covers(seen(b"a.example", b"192.0.2.2"))
    assert not clean.covers(seen(b"d.example", b"192.0.2.1"))


@given(
    st.lists(
        st.binary(max_size=30).map(lambda b: b.replace(b" ", b"").replace(b"\n", b"")),
        min_size=5,
        max_size=8,
    )
)
def test_hot_requests_can_always_be_asked(parts: list[bytes]) -> None:
    hot = HotFields(10)
    hot.count([b"1", *parts])
    rules = HelperRules(
        Mock(spec=OpenRuleSet),
        CleanFields(100),
        plain=False,
        remembered=Mock(spec=Remembered),
        verdicts=Mock(spec=VerdictStore),
    )
    for observed, remember in hot.requests(rules):
        assert observed.method in {"GET", "CONNECT"}
        remember(CLEAN)
