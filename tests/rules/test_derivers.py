"""Threads that only derive: how much of a processor they take from those that serve."""

from __future__ import annotations

import threading
import time
from typing import Any, cast

import pytest

from inkgate.health.monitor import Monitor
from inkgate.rules.lookup.derivers import Derivers
from inkgate.rules.lookup.stretching import CachedStretch

VALUES = 20
SECONDS = 0.003


class Busy:
    """Stands for stretched values: each derivation has the processor for so many seconds."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def derive(self, kind: str, data: bytes) -> bytes:
        end = time.thread_time() + self._seconds
        while time.thread_time() < end:
            pass
        return bytes(32)

    def remember(self, *_: Any) -> None:
        pass

    def save(self, *_: Any) -> None:
        pass


@pytest.fixture
def woken() -> threading.Semaphore:
    return threading.Semaphore(0)


def late_only(woken: threading.Semaphore) -> Derivers:
    """As if those of the lowest priority did not get the processor."""
    return Derivers(0, woken.release, cast("Monitor", None))


def test_attack_flood_takes_a_tenth_of_a_processor_from_those_that_serve(
    woken: threading.Semaphore,
) -> None:
    derivers = late_only(woken)
    derivers.start()
    busy = cast("CachedStretch", Busy(SECONDS))
    for number in range(VALUES):
        derivers.submit(busy, ("name", bytes([number])))
    began = time.monotonic()
    derivers.hurry()
    for _ in range(VALUES):
        assert woken.acquire(timeout=60)
    # It rests after each but the last one.
    assert time.monotonic() - began > 10 * SECONDS * (VALUES - 1) * 0.95
    derivers.stop()


def test_hurry_once_is_enough_for_all_that_wait(woken: threading.Semaphore) -> None:
    derivers = late_only(woken)
    derivers.start()
    busy = cast("CachedStretch", Busy(0))
    for number in range(VALUES):
        derivers.submit(busy, ("name", bytes([number])))
    derivers.hurry()
    for _ in range(VALUES):
        assert woken.acquire(timeout=60)
    derivers.stop()


def test_end_is_not_put_off_by_a_rest(
    woken: threading.Semaphore, monkeypatch: pytest.MonkeyPatch
) -> None:
    derivers = late_only(woken)
    derivers.start()
    monkeypatch.setattr("inkgate.rules.lookup.derivers._LONGEST_REST_SECONDS", 60)
    # After it, it would rest for 4.5 s.
    derivers.submit(cast("CachedStretch", Busy(0.5)), ("name", b""))
    derivers.hurry()
    assert woken.acquire(timeout=60)
    began = time.monotonic()
    derivers.stop()
    assert time.monotonic() - began < 2
