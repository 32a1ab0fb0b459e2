"""Requests that cannot be answered at once: waiting for their turn, or for derivations.

All of it happens on the main loop's thread, a little at a time; only derivations
are made elsewhere. A value that several requests wait for is derived once.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Final

from inkgate.health.monitor import Monitor
from inkgate.helper.protocol import Request, parse_request
from inkgate.helper.rules_in_use import HelperRules
from inkgate.rules.crypto.derive import Unstretched
from inkgate.rules.errors import PackError
from inkgate.rules.lookup.derivers import Derivers
from inkgate.rules.lookup.steps import Steps, Wanted
from inkgate.rules.lookup.stretching import CachedStretch
from inkgate.rules.lookup.verdicts import Findings, examination

# After this time of work on requests, the main loop reads its input again.
SLICE_SECONDS: Final = 0.0005
# So many derivations a thread are handed over before they are needed. More would be made
# even when the deadline of their request has passed; with fewer, threads wait for the loop.
_AHEAD: Final = 4
# A request that waits this long shows that other work keeps the processors busy. From then
# on one more thread derives, at normal priority.
URGENT_SECONDS: Final = 0.1

NO_FINDINGS: Final = Findings((), clean_host=False, clean_server=False, clean_agent=False)


class Lookup:
    """One request under way.

    Attributes:
        fields: Squid's line, split at spaces.
        rules: those that were in use when it came.
        answered: its deadline has passed and `fail` has answered it.
    """

    __slots__ = (
        "answered",
        "deadline",
        "derived",
        "fields",
        "line",
        "missing",
        "request",
        "rules",
        "settled",
        "steps",
        "wanted",
    )

    def __init__(self, line: bytes, rules: HelperRules, deadline: float) -> None:
        self.line = line
        self.fields = line.split(b" ")
        self.rules = rules
        self.deadline = deadline
        self.request: Request | None = None
        self.steps: Steps[Findings] | None = None
        self.wanted: Wanted = ()
        self.derived: dict[Unstretched, bytes] = {}
        self.missing = 0
        self.answered = False
        self.settled = False


class Lookups:
    """Takes requests through their steps.

    Args:
        derivers: where derivations are made.
        threads: how many of them run at a time.
        seconds: deadline of a request.
        settle: called once for each request that is not answered by its deadline, with
            what was found or None if that could not be told; and for those that are,
            if something is found after all.
        give_up: called when a request's deadline has passed.
        monitor: told why a look-up came to no end.
    """

    def __init__(
        self,
        derivers: Derivers,
        threads: int,
        seconds: float,
        settle: Callable[[Lookup, Findings | None], None],
        give_up: Callable[[Lookup], None],
        monitor: Monitor,
    ) -> None:
        self._derivers = derivers
        self._most_ahead = threads * _AHEAD
        self._seconds = seconds
        self._settle = settle
        self._give_up = give_up
        self._monitor = monitor
        self._new: deque[Lookup] = deque()
        self._by_age: deque[Lookup] = deque()
        self._waiting: dict[tuple[CachedStretch, Unstretched], list[Lookup]] = {}
        self._to_derive: deque[tuple[CachedStretch, Unstretched]] = deque()
        self._ahead = 0
        self.count = 0

    def add(self, line: bytes, rules: HelperRules) -> None:
        """Take a request with a valid ID."""
        lookup = Lookup(line, rules, time.monotonic() + self._seconds)
        self.count += 1
        self._new.append(lookup)
        self._by_age.append(lookup)

    def seconds_to_wait(self) -> float:
        """Seconds until there is something to do, if no derivation ends before."""
        if self._new or self._derivers.has_results():
            return 0
        self._forget_settled()
        longest = URGENT_SECONDS if self._ahead else self._seconds
        if not self._by_age:
            return longest
        return min(longest, max(0.0, self._by_age[0].deadline - time.monotonic()))

    def work(self) -> None:
        """Do what there is to do, for about `SLICE_SECONDS`."""
        end = time.monotonic() + SLICE_SECONDS
        self._expire()
        self._collect(end)
        while self._new and time.monotonic() < end:
            self._begin(self._new.popleft())
        self._feed()
        # A look-up has its rules: kept longer, it would keep an old generation open.
        self._forget_settled()

    def _begin(self, lookup: Lookup) -> None:
        if lookup.answered:
            self._end(lookup, None)
        elif (request := parse_request(lookup.line)) is None:
            self._monitor.met("line-refused")
            self._end(lookup, None)
        elif lookup.rules.clean.covers(lookup.fields):
            # The look-up of an earlier request has found this host clean.
            self._end(lookup, NO_FINDINGS)
        else:
            lookup.request = request
            lookup.steps = examination(request.observed, lookup.rules.opened.matcher)
            self._advance(lookup)

    def _advance(self, lookup: Lookup) -> None:
        try:
            self._take_steps(lookup)
        except StopIteration as end:
            self._end(lookup, end.value)
        except PackError as error:
            self._monitor.met("rule-damaged", str(error))
            self._end(lookup, None)
        except Exception as error:  # noqa: BLE001
            # The text may hold the value that caused it, so only the type is said.
            self._monitor.met("lookup-failed", f"a look-up failed: {type(error).__name__}")
            self._end(lookup, None)

    def _take_steps(self, lookup: Lookup) -> None:
        steps, known = lookup.steps, lookup.rules.opened.keys.cached
        assert steps is not None  # noqa: S101 (set by _begin)
        if lookup.wanted:
            lookup.wanted = steps.send([lookup.derived[value] for value in lookup.wanted])
        else:
            lookup.wanted = next(steps)
        while True:
            lookup.derived = {v: k for v in lookup.wanted if (k := known(*v)) is not None}
            missing = set(lookup.wanted) - lookup.derived.keys()
            if missing:
                return self._wait_for(lookup, missing)
            lookup.wanted = steps.send([lookup.derived[value] for value in lookup.wanted])

    def _wait_for(self, lookup: Lookup, missing: set[Unstretched]) -> None:
        lookup.missing = len(missing)
        for value in missing:
            key = (lookup.rules.opened.keys, value)
            if key in self._waiting:
                self._waiting[key].append(lookup)
            else:
                self._waiting[key] = [lookup]
                self._to_derive.append(key)

    def _feed(self) -> None:
        while self._to_derive and self._ahead < self._most_ahead:
            key = self._to_derive.popleft()
            if all(lookup.answered for lookup in self._waiting[key]):
                for lookup in self._waiting.pop(key):
                    self._end(lookup, None)
            else:
                self._ahead += 1
                self._derivers.submit(*key)
        if self._ahead and self._is_late():
            self._derivers.hurry()

    def _is_late(self) -> bool:
        self._forget_settled()
        if not self._by_age:
            return False
        return time.monotonic() > self._by_age[0].deadline - self._seconds + URGENT_SECONDS

    def _collect(self, end: float) -> None:
        while result := self._derivers.result():
            self._ahead -= 1
            for lookup in self._waiting.pop((result.keys, result.value)):
                self._deliver(lookup, result.value, result.stretched)
            if time.monotonic() >= end:
                # The other results are taken in the next round; the threads go on.
                return

    def _deliver(self, lookup: Lookup, value: Unstretched, stretched: bytes | None) -> None:
        if lookup.settled:
            return
        if stretched is None:
            self._end(lookup, None)
            return
        lookup.derived[value] = stretched
        lookup.missing -= 1
        if not lookup.missing:
            self._advance(lookup)

    def _expire(self) -> None:
        now = time.monotonic()
        self._forget_settled()
        while self._by_age and self._by_age[0].deadline <= now:
            lookup = self._by_age.popleft()
            if not lookup.settled:
                lookup.answered = True
                self._give_up(lookup)

    def _forget_settled(self) -> None:
        while self._by_age and self._by_age[0].settled:
            self._by_age.popleft()

    def _end(self, lookup: Lookup, found: Findings | None) -> None:
        if lookup.settled:
            return
        lookup.settled = True
        lookup.steps = None
        self.count -= 1
        self._settle(lookup, found)
