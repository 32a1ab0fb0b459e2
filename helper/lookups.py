"""Requests that cannot be answered at once: waiting for their turn, or for derivations.

All of it happens on the main loop's thread, a little at a time; only derivations
are made elsewhere. A value that several requests wait for is derived once. Requests and
derivations are taken in turns by client (docs/decisions/0048).
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Final

from inkgate.health.monitor import Monitor
from inkgate.helper.protocol import (
    ABSENT,
    CLIENT,
    MIN_FIELDS,
    SERVER,
    URI,
    Request,
    parse_request,
)
from inkgate.helper.rules_in_use import HelperRules
from inkgate.helper.settings import HelperSettings
from inkgate.rules.crypto.derive import Unstretched
from inkgate.rules.errors import PackError
from inkgate.rules.lookup.derivations import URGENT_SECONDS, Derivations
from inkgate.rules.lookup.derivers import Derivers
from inkgate.rules.lookup.remembered import NOTHING, Before
from inkgate.rules.lookup.steps import Steps, Wanted
from inkgate.rules.lookup.turns import UNKNOWN, Turns, client_of
from inkgate.rules.lookup.verdicts import (
    Findings,
    SoFar,
    blocks,
    examination,
    found_so_far,
)
from inkgate.rules.lookup.waiting_room import WaitingRoom

# After this time of work on requests, the main loop reads its input again.
SLICE_SECONDS: Final = 0.0005
# A client with this many requests under way waits for itself: the thread of normal priority
# does not derive for it, since it takes the processor from others.
_MANY: Final = 256

# So many settled requests may stand behind one that is not, before they are sorted out.
_SETTLED_KEPT: Final = 1_000

# Of requests that wait for one value, the oldest come first.
_LOOKED_AT: Final = 4

NO_FINDINGS: Final = Findings((), clean_host=False, clean_server=False, clean_agent=False)


class Lookup:
    """One request under way.

    Attributes:
        fields: Squid's line, split at spaces.
        rules: those that were in use when it came.
        client: whose turn it takes.
        so_far: matches that were found in it until now.
        answered: its deadline has passed, or it gave way, and `fail` has answered it.
        asks_server: if it may pass, Squid is not to answer it from its cache.
    """

    __slots__ = (
        "answered",
        "asks_server",
        "client",
        "deadline",
        "derived",
        "fields",
        "line",
        "missing",
        "request",
        "rules",
        "settled",
        "so_far",
        "steps",
        "wanted",
    )

    def __init__(self, line: bytes, rules: HelperRules, deadline: float) -> None:
        self.line = line
        self.fields = line.split(b" ")
        self.rules = rules
        self.client = client_of(self.fields[CLIENT]) if len(self.fields) > CLIENT else UNKNOWN
        self.deadline = deadline
        self.request: Request | None = None
        self.steps: Steps[Findings] | None = None
        self.so_far: SoFar = []
        self.wanted: Wanted = ()
        self.derived: dict[Unstretched, bytes] = {}
        self.missing = 0
        self.answered = False
        self.asks_server = False
        self.settled = False

    @property
    def is_waiting(self) -> bool:
        """Whether it still needs values."""
        return not (self.answered or self.settled)

    def forget(self) -> None:
        """Let go of all that takes memory: queues may hold a settled request for a while."""
        self.line = b""
        self.fields = []
        self.request = self.steps = None
        self.so_far = []
        self.wanted = ()
        self.derived = {}


class Lookups:
    """Takes requests through their steps.

    Args:
        derivers: where derivations are made.
        settings: section `[helper]`.
        settle: called once for each request that is not answered by its deadline, with
            what was found or None if that could not be told; and for those that are,
            if something is found after all.
        give_up: called when a request's deadline has passed, or it gave way to others.
        monitor: told why a look-up came to no end.
    """

    def __init__(
        self,
        derivers: Derivers,
        settings: HelperSettings,
        settle: Callable[[Lookup, Findings | None], None],
        give_up: Callable[[Lookup], None],
        monitor: Monitor,
    ) -> None:
        self._derivers = derivers
        self._seconds = settings.deadline_seconds
        self._settle = settle
        self._give_up = give_up
        self._monitor = monitor
        self._room: WaitingRoom[Lookup] = WaitingRoom(
            settings.pending, settings.pending_mib << 20, settings.client_share
        )
        self._new: Turns[Lookup] = Turns()
        self._by_age: deque[Lookup] = deque()
        self._derivations: Derivations[Lookup] = Derivations(
            derivers, settings.workers, settings.client_share
        )
        self._many = _MANY if settings.client_share < 1 else settings.pending

    @property
    def count(self) -> int:
        """Requests under way."""
        return self._room.count

    def add(self, line: bytes, rules: HelperRules) -> bool:
        """Take a request with a valid ID; False if there is no room for it to wait."""
        lookup = Lookup(line, rules, time.monotonic() + self._seconds)
        known = self._is_known_to_be_listed(lookup)
        if known:
            self._begin(lookup)
            if not lookup.settled and _is_blocked(lookup):
                self._end(lookup, None)
            if lookup.settled:
                return True
        if not self._make_room(lookup):
            lookup.settled = True
            return False
        self._room.add(lookup.client, lookup, len(line))
        self._by_age.append(lookup)
        if len(self._by_age) > 2 * self.count + _SETTLED_KEPT:
            self._by_age = deque(other for other in self._by_age if not other.settled)
        if not known:
            self._new.put(lookup.client, lookup)
        return True

    def _is_known_to_be_listed(self, lookup: Lookup) -> bool:
        fields = lookup.fields
        return len(fields) >= MIN_FIELDS and lookup.rules.clean.is_listed(fields[URI])

    def _make_room(self, lookup: Lookup) -> bool:
        while not self._room.has_room(len(lookup.line)):
            other = self._room.gives_way(lookup.client)
            if other is None:
                return False
            self._monitor.met("client-share-used-up")
            self._answer_by_now(other)
            self._end(other, None)
        return True

    def seconds_to_wait(self) -> float:
        """Seconds until there is something to do, if no derivation ends before."""
        if self._new or self._derivers.has_results():
            return 0
        self._forget_settled()
        longest = URGENT_SECONDS if self._derivations.are_under_way else self._seconds
        if not self._by_age:
            return longest
        return min(longest, max(0.0, self._by_age[0].deadline - time.monotonic()))

    def work(self) -> None:
        """Do what there is to do, for about `SLICE_SECONDS`."""
        end = time.monotonic() + SLICE_SECONDS
        self._expire()
        self._collect(end)
        while self._new and time.monotonic() < end:
            if taken := self._new.take():
                self._begin(taken[1])
        self._feed()
        # A look-up has its rules: kept longer, it would keep an old generation open.
        self._forget_settled()

    def _begin(self, lookup: Lookup) -> None:
        if not lookup.is_waiting:
            self._end(lookup, None)
        elif (request := parse_request(lookup.line)) is None:
            self._monitor.met("line-refused")
            self._end(lookup, None)
        else:
            lookup.request = request
            self._try(lookup, self._look_up)

    def _look_up(self, lookup: Lookup) -> None:
        request = lookup.request
        assert request is not None  # noqa: S101 (set by _begin)
        before = _before(lookup, request)
        lookup.asks_server = before.asks_server
        if before.matches:
            self._end(lookup, Findings(before.matches, False, False, False))
        elif lookup.rules.clean.covers(lookup.fields):
            # The look-up of an earlier request has found this host clean.
            self._end(lookup, NO_FINDINGS)
        else:
            lookup.steps = examination(request.observed, lookup.rules.opened.matcher, lookup.so_far)
            self._take_steps(lookup)

    def _advance(self, lookup: Lookup) -> None:
        self._try(lookup, self._take_steps)

    def _try(self, lookup: Lookup, step: Callable[[Lookup], None]) -> None:
        try:
            step(lookup)
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
            self._derivations.want(lookup.rules.opened.keys, value, lookup)

    def _feed(self) -> None:
        for lookup in self._derivations.hand_over():
            self._end(lookup, None)
        if self._derivations.are_under_way and self._is_late():
            self._derivers.hurry()

    def _is_late(self) -> bool:
        """Whether a derivation that was handed over keeps somebody waiting for long."""
        late = time.monotonic() + self._seconds - URGENT_SECONDS
        return any(
            lookup.deadline < late
            and not lookup.settled
            and self._room.count_of(lookup.client) <= self._many
            for lookup in self._derivations.oldest(_LOOKED_AT)
        )

    def _collect(self, end: float) -> None:
        while derived := self._derivations.result():
            for lookup in derived.waiters:
                self._deliver(lookup, derived.value, derived.stretched)
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
            if lookup.settled:
                continue
            if _is_blocked(lookup):
                self._end(lookup, None)
            else:
                self._monitor.met("deadline-passed")
                self._answer_by_now(lookup)

    def _answer_by_now(self, lookup: Lookup) -> None:
        """Let `fail` answer a request, unless a rule that blocks was found by now."""
        if not (lookup.answered or _is_blocked(lookup)):
            lookup.answered = True
            self._give_up(lookup)

    def _forget_settled(self) -> None:
        while self._by_age and self._by_age[0].settled:
            self._by_age.popleft()

    def _end(self, lookup: Lookup, found: Findings | None) -> None:
        if lookup.settled:
            return
        if found is None and _is_blocked(lookup):
            # Whatever else could not be told.
            found = _by_now(lookup)
        lookup.settled = True
        self._room.remove(lookup.client, lookup)
        self._settle(lookup, found)
        lookup.forget()


def _is_blocked(lookup: Lookup) -> bool:
    """Whether a rule that blocks was found in a request by now."""
    return blocks(found_so_far(lookup.so_far))


def _by_now(lookup: Lookup) -> Findings:
    """What was found in a request that is answered before its look-up ends."""
    at_server = tuple(lookup.so_far[1]) if lookup.so_far else ()
    return Findings(found_so_far(lookup.so_far), False, False, False, at_server=at_server)


def _before(lookup: Lookup, request: Request) -> Before:
    """What is known of a request by earlier replies, unless a server's address speaks for it."""
    remembered = lookup.rules.opened.remembered
    if remembered.store.is_empty or lookup.fields[SERVER] != ABSENT:
        return NOTHING
    return remembered.of_request(request.observed, lookup.fields[CLIENT])
