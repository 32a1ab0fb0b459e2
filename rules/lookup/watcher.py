"""The life of the rule set in use: a new one is noticed, opened, warmed up, handed over.

All of it happens on one thread beside the front end, which goes on answering from the old
rule set. Helper and ICAP server use it in the same way.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Final, Generic, TypeVar

from inkgate.health.monitor import Monitor
from inkgate.rules.lookup.derivers import lower_priority
from inkgate.rules.lookup.freshness import Freshness
from inkgate.rules.lookup.rule_set import OpenRuleSet, RuleSet
from inkgate.rules.lookup.warming import HotRequest, warm_up, warming_lock

R = TypeVar("R")

# How often to look for a new rule set.
_LOOK_SECONDS: Final = 0.5
# Warming up in the same epoch, where nothing is derived, ends after this time at the latest:
# a new indicator must not wait longer.
_SAME_EPOCH_SECONDS: Final = 0.5
# Another process has derived: this is the time to read its keys from the key cache.
_READ_SECONDS: Final = 1.0
# Opening a rule set takes less, whatever its size.
_LONGEST_END_SECONDS: Final = 10.0
# While this thread runs Python code, the interpreter changes threads ten times as often as
# by default, so that threads that serve wait less (docs/decisions/0041). Only meanwhile:
# at other times they would change among themselves so often that it costs them a tenth.
_SWITCH_SECONDS: Final = 0.0005


class Watcher(Generic[R]):
    """Keeps `current` up to date.

    Args:
        rule_set: opens rule sets.
        prepare: makes of an open rule set what the front end answers from.
        hottest: requests to look up in that before it is used, hottest first.
        warm_up_seconds: longest that a rule set of a new epoch waits for them.
        freshness: tells which rule set may still be used.
        monitor: told which rule set is in use, and what goes wrong.
        at_each_look: called twice a second, on the thread of the watcher.

    Attributes:
        current: what to answer from; None while there is no rule set that may be used.
            It is exchanged as a whole at any moment, so a front end reads it once for
            each request.
    """

    def __init__(
        self,
        rule_set: RuleSet,
        prepare: Callable[[OpenRuleSet], R],
        hottest: Callable[[R], Iterable[HotRequest]],
        warm_up_seconds: float,
        freshness: Freshness,
        monitor: Monitor,
        at_each_look: Callable[[], None] = lambda: None,
    ) -> None:
        self._rule_set = rule_set
        self._prepare = prepare
        self._hottest = hottest
        self._warm_up_seconds = warm_up_seconds
        self._freshness = freshness
        self._monitor = monitor
        self._at_each_look = at_each_look
        self._prepared: R | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watcher", daemon=True)
        self.current: R | None = None

    @property
    def lack(self) -> str:
        """The condition that there is nothing to answer from."""
        return "rules-expired" if self._rule_set.in_use else "no-rules"

    def start(self) -> None:
        """Open the rule set that is there, and watch for new ones from then on."""
        self._try_to_look()
        self._thread.start()

    def stop(self) -> None:
        """End the thread, so that the interpreter does not end under it."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(_LONGEST_END_SECONDS)

    def _watch(self) -> None:
        lower_priority()
        while not self._stop.wait(_LOOK_SECONDS):
            with _short_turns():
                self._try_to_look()

    def _try_to_look(self) -> None:
        try:
            self._look()
        except Exception as error:  # noqa: BLE001
            # Whatever it was: the old rules stay in use, and the next round tries again.
            self._rule_set.cannot(type(error).__name__)

    def _look(self) -> None:
        """Open a new rule set if there is one; see whether the one in use still may be."""
        self._at_each_look()
        self._monitor.remind()
        new = self._rule_set.open_if_new()
        if new is not None:
            self._use(new)
        elif self._rule_set.in_use is not None:
            self.current = self._prepared if self._is_fresh(self._rule_set.in_use) else None

    def _use(self, new: OpenRuleSet) -> None:
        prepared = self._prepare(new)
        old = self._rule_set.in_use
        # Where `fail` answers, since the old set is past its expiry, nothing is to be spared.
        if old is not None and self.current is not None:
            self._warm_up(new, prepared, same_epoch=old.keys is new.keys)
        self._prepared = prepared
        self.current = prepared if self._is_fresh(new) else None
        self._rule_set.use(new)

    def _is_fresh(self, opened: OpenRuleSet) -> bool:
        manifest = opened.matcher.generation.manifest
        return self._freshness.may_be_used(manifest, self._rule_set.settings)

    def _warm_up(self, new: OpenRuleSet, prepared: R, *, same_epoch: bool) -> None:
        now = time.monotonic()
        if same_epoch:
            self._look_up_hottest(new, prepared, now + _SAME_EPOCH_SECONDS, derive=False)
            return
        until = now + self._warm_up_seconds
        with warming_lock(new.key_folder, until, self._stop.wait) as is_our_turn:
            if is_our_turn:
                self._look_up_hottest(new, prepared, until, derive=True)
        if not is_our_turn:
            self._look_up_hottest(new, prepared, until + _READ_SECONDS, derive=False)

    def _look_up_hottest(
        self, new: OpenRuleSet, prepared: R, until: float, *, derive: bool
    ) -> None:
        warm_up(new, self._hottest(prepared), until, derive=derive, stopped=self._stop.is_set)


@contextlib.contextmanager
def _short_turns() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(min(before, _SWITCH_SECONDS))
    try:
        yield
    finally:
        sys.setswitchinterval(before)
