"""Everything that the helper remembers has a limit, and never says too much."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inkgate.helper.clean import Clean
from inkgate.helper.watcher import Hot
from inkgate.rules.crypto.key_cache import KeyCache
from inkgate.rules.lookup.hottest import Hottest
from inkgate.rules.lookup.stretching import CachedStretch
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
    stretch = CachedStretch(lambda _kind, data: data.ljust(32), keys, 10)
    assert stretch("name", b"a") == b"a".ljust(32)
    keys.close()
    assert stretch("name", b"b") == b"b".ljust(32)
    assert stretch.known("name", b"c") is None


@given(st.lists(st.binary(max_size=2)))
def test_hottest_is_bounded(keys: list[bytes]) -> None:
    hottest = Hottest(16)
    for key in keys:
        hottest.saw(key)
        assert len(hottest) <= 16


def test_hottest_are_found_among_many() -> None:
    hottest = Hottest(100)
    for number in range(20_000):
        hottest.saw(b"hot%d" % (number % 10))
        hottest.saw(b"rare%d" % number)
    assert set(hottest.most(10)) == {b"hot%d" % n for n in range(10)}


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
    clean = Clean.nothing(100)
    clean.remember(fields(method, uri), CLEAN)
    assert (len(clean.hosts) == 1) is remembered


def test_clean_part_says_nothing_of_the_others() -> None:
    clean = Clean.nothing(100)
    clean.remember(fields(b"GET", b"http://a.example/", b"192.0.2.1", b"good"), CLEAN)
    assert clean.covers(fields(b"GET", b"http://a.example/x", b"192.0.2.1", b"good"))
    assert clean.covers(fields(b"GET", b"http://a.example/x", b"-", b"good"))
    assert not clean.covers(fields(b"GET", b"http://a.example/x", b"192.0.2.2", b"good"))
    assert not clean.covers(fields(b"GET", b"http://a.example/x", b"192.0.2.1", b"evil"))
    assert not clean.covers(fields(b"GET", b"http://b.example/x", b"192.0.2.1", b"good"))
    assert not clean.covers(fields(b"GET", b"https://a.example/x", b"192.0.2.1", b"good"))


@given(
    st.lists(
        st.binary(max_size=30).map(lambda b: b.replace(b" ", b"").replace(b"\n", b"")),
        min_size=5,
        max_size=8,
    )
)
def test_hot_requests_can_always_be_asked(parts: list[bytes]) -> None:
    hot = Hot.nothing(10)
    hot.saw([b"1", *parts])
    for asked, observed in hot.requests(10):
        assert len(asked) >= 6
        assert observed.method in {"GET", "CONNECT"}
