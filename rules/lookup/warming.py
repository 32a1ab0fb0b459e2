"""Warming up: before a new rule set is used, what is asked for most is looked up in it.

In a new epoch every name costs a derivation again. One process of all that share the key
cache derives the names that are asked for most, in bounded time, while the old rule set
still answers. In the same epoch their keys are in the cache, and the look-ups only fill
the memory of clean hosts.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

from inkgate.config.locks import lock_until, open_lock_file
from inkgate.rules.errors import PackError
from inkgate.rules.lookup.observed import Observed
from inkgate.rules.lookup.rule_set import OpenRuleSet
from inkgate.rules.lookup.steps import Stretch, finish
from inkgate.rules.lookup.verdicts import Findings, examination

LOCK: Final = "warming.lock"

HotRequest = tuple[Observed, Callable[[Findings], None]]
"""A request to look up, and what is called with what was found."""


class NotCachedError(Exception):
    """A value that would have to be derived."""


def warm_up(
    new: OpenRuleSet,
    requests: Iterable[HotRequest],
    until: float,
    *,
    derive: bool,
    stopped: Callable[[], bool],
) -> None:
    """Look requests up in a rule set, in their order.

    Args:
        new: the rule set.
        requests: hottest first. Those that cannot be looked up are left out.
        until: when to end (time.monotonic).
        derive: whether derivations may be made for it.
        stopped: whether to end before.
    """
    stretch = new.keys if derive else cached_only(new)
    for observed, remember in requests:
        if time.monotonic() >= until or stopped():
            return
        # A damaged rule is logged when a request needs it.
        with contextlib.suppress(NotCachedError, PackError):
            remember(finish(examination(observed, new.matcher), stretch))
        # Give the interpreter's lock to a thread that serves.
        time.sleep(0)


def cached_only(opened: OpenRuleSet) -> Stretch:
    """Stretched values of memory and key cache; it raises NotCachedError for all others."""

    def stretch(kind: str, data: bytes) -> bytes:
        stretched = opened.keys.cached(kind, data)
        if stretched is None:
            raise NotCachedError
        return stretched

    return stretch


@contextlib.contextmanager
def warming_lock(folder: Path, until: float, pause: Callable[[float], bool]) -> Iterator[bool]:
    """Wait until no other process warms up; False if the time was over before.

    Args:
        folder: that of the key cache.
        until: how long to wait (time.monotonic).
        pause: waits so many seconds; True if this process is to end.
    """
    try:
        fd = open_lock_file(folder / LOCK, 0o600)
    except OSError:
        yield True
        return
    try:
        yield lock_until(fd, until, pause)
    finally:
        os.close(fd)
