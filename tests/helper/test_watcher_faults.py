"""The watcher of rules goes on whatever happens, and loses no time where nothing blocks."""

from __future__ import annotations

import json
from collections.abc import Iterator

import lmdb
import pytest

from inkgate.health.clock import Clock
from inkgate.health.monitor import Monitor
from inkgate.rules.crypto.key_cache import KeyCache
from inkgate.rules.lookup.freshness import Freshness
from inkgate.rules.lookup.rule_set import OpenRuleSet, RuleSet
from inkgate.rules.lookup.stretching import CachedStretch
from inkgate.rules.lookup.warming import HotRequest
from inkgate.rules.lookup.watcher import Watcher
from support.installation import Installation, attribute
from support.waiting import wait_until


@pytest.fixture
def listed(installation: Installation) -> Installation:
    installation.add("listed", attribute("domain", "listed.example"))
    installation.refresh()
    return installation


class Watched:
    """A watcher, and what it was asked."""

    def __init__(self, installation: Installation) -> None:
        self.said: list[str] = []
        self.warmed = 0
        self.fails = False
        monitor = Monitor(None, "inkgate-helper", self.said.append)
        self.watcher = Watcher[OpenRuleSet](
            RuleSet(installation.config, 100, 1, monitor),
            lambda opened: opened,
            self._hottest,
            60,
            Freshness(Clock(None), monitor),
            monitor,
            self._look,
        )

    def _hottest(self, _: OpenRuleSet) -> Iterator[HotRequest]:
        self.warmed += 1
        return iter(())

    def _look(self) -> None:
        if self.fails:
            self.fails = False
            raise RuntimeError


def test_new_rules_are_used_at_once_where_the_old_ones_are_past_their_expiry(
    listed: Installation,
) -> None:
    listed.configure('after_expiry = "fail"')
    path = listed.places.installed / "current" / "manifest.json"
    manifest = json.loads(path.read_text()) | {"expires": "2026-01-01T00:00:00Z"}
    path.write_text(json.dumps(manifest))
    watched = Watched(listed)
    watched.watcher.start()
    try:
        assert watched.watcher.current is None
        listed.add("more", attribute("domain", "more.example"))
        listed.refresh()
        wait_until(lambda: watched.watcher.current is not None, "the new rules to be used")
        assert not watched.warmed
    finally:
        watched.watcher.stop()


def test_fault_at_the_start_is_said_and_the_next_look_opens_the_rules(listed: Installation) -> None:
    watched = Watched(listed)
    watched.fails = True
    watched.watcher.start()
    try:
        assert "critical: no-rules: RuntimeError" in watched.said
        wait_until(lambda: watched.watcher.current is not None, "the rules to be opened")
    finally:
        watched.watcher.stop()


def test_key_cache_that_failed_takes_no_newer_one_with_it(listed: Installation) -> None:
    failed: list[lmdb.Error] = []
    folder = listed.folder / "run" / "keys"
    newer = KeyCache(folder, "b" * 32)

    class Failing(KeyCache):
        def get(self, kind: str, data: bytes) -> bytes | None:
            # Meanwhile another thread attaches another one.
            stretch.attach(newer)
            raise lmdb.Error("made up")

    stretch = CachedStretch(
        lambda *_: b"", Failing(folder, "a" * 32), 10, lambda error, _: failed.append(error)
    )
    assert stretch.cached("name", b"a.example") is None
    assert [str(error) for error in failed] == ["made up"]
    assert stretch.has_disk
