"""Look-ups of messages: each on its message's thread, derivations on others, in turns by client.

A thread that derived by itself would take the processor from the event loop, and one client's
new names would keep those of all others waiting (docs/decisions/0048).
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from typing import Final, NamedTuple, TypeVar

from inkgate.health.monitor import Monitor
from inkgate.icap_server.settings import IcapSettings
from inkgate.rules.crypto.derive import Unstretched
from inkgate.rules.lookup.derivations import URGENT_SECONDS, Derivations
from inkgate.rules.lookup.derivers import Derivers
from inkgate.rules.lookup.matcher import Matcher
from inkgate.rules.lookup.steps import Steps, Wanted
from inkgate.rules.lookup.stretching import CachedStretch
from inkgate.rules.lookup.turns import client_of
from inkgate.rules.lookup.verdicts import SoFar, blocks, found_so_far
from inkgate.rules.lookup.waiting_room import WaitingRoom

T = TypeVar("T")

# Of the connections on which Squid asks, so many may wait for derivations: the others are for
# what is answered from memory.
_MAY_WAIT: Final = 0.75
_LONGEST_WAIT_SECONDS: Final = 0.4


class NoVerdictError(Exception):
    """No verdict can be given; the setting `fail` decides.

    Args:
        condition: why, from the table of conditions; empty if that was said already.
        detail: what exactly, without secrets.
    """

    def __init__(self, condition: str, detail: str = "") -> None:
        super().__init__(detail or condition)
        self.condition = condition
        self.detail = detail


class Asker(NamedTuple):
    """Who waits for a verdict.

    Attributes:
        client: an address, or empty.
        method: ICAP's.
        until: when `fail` decides (monotonic seconds).
    """

    client: str
    method: str
    until: float


class _Waiting:
    """A look-up that waits for values, or has waited.

    Attributes:
        in_room: it has waited.
        woken: set when it need wait no longer.
        cut: the condition under which it ends before its time, None if it does not.
    """

    __slots__ = ("client", "cut", "derived", "in_room", "is_over", "missing", "woken")

    def __init__(self, client: bytes) -> None:
        self.client = client
        self.woken = threading.Event()
        self.derived: dict[Unstretched, bytes] = {}
        self.missing = 0
        self.cut: str | None = None
        self.in_room = self.is_over = False

    @property
    def is_waiting(self) -> bool:
        """Whether it still needs values."""
        return not self.is_over and self.cut is None

    def end(self, condition: str) -> None:
        """Cut it short."""
        self.cut = condition
        self.woken.set()


class Lookups:
    """Takes look-ups through their steps. For many threads.

    Args:
        settings: section `[icap]`.
        monitor: told of derivations that fail.
    """

    def __init__(self, settings: IcapSettings, monitor: Monitor) -> None:
        self._lock = threading.Lock()
        self._monitor = monitor
        threads = settings.derive_threads
        self._is_over = False
        self._derived = os.eventfd(0, os.EFD_CLOEXEC)
        # Written with the interpreter's lock let go of. A thread of the lowest priority that woke
        # another one while it held the lock would lose the processor to it, and both, and all
        # others, would wait for it to get the processor again.
        self._derivers = Derivers(threads, lambda: os.eventfd_write(self._derived, 1), monitor)
        self._derivations: Derivations[_Waiting] = Derivations(
            self._derivers, threads, settings.client_share
        )
        self._rooms: dict[str, WaitingRoom[_Waiting]] = {
            method: WaitingRoom(_places(settings, method), 0, settings.client_share)
            for method in ("REQMOD", "RESPMOD")
        }
        self._delivering = threading.Thread(target=self._deliver_all, name="deliver", daemon=True)

    def start(self) -> None:
        """Start the threads that derive, and the one that delivers what they have derived."""
        self._derivers.start()
        self._delivering.start()

    def stop(self) -> None:
        """End them. Who waits still waits until its deadline."""
        self._derivers.stop()
        self._is_over = True
        os.eventfd_write(self._derived, 1)
        self._delivering.join()
        # What came after its last look.
        self._collect()
        os.close(self._derived)

    def finish(
        self, steps: Steps[T], matcher: Matcher, keys: CachedStretch, asker: Asker, so_far: SoFar
    ) -> T | None:
        """Take all steps of a look-up.

        Args:
            steps: what is left of it.
            matcher: in which it looks.
            keys: the stretched values of that matcher.
            asker: who waits for it.
            so_far: has its matches as soon as they are found.

        Returns:
            what it comes to; None if a rule that blocks was found from memory alone, so that
            nothing else need be waited for.

        Raises:
            NoVerdictError: `deadline-passed`, `client-share-used-up`, or a value could not be
                derived.
        """
        lookup = _Waiting(client_of(asker.client.encode()))
        try:
            wanted = next(steps)
            while True:
                derived = self._at_once(wanted, matcher, keys)
                if len(derived) < len(set(wanted)):
                    if not lookup.in_room and blocks(found_so_far(so_far)):
                        return None
                    derived |= self._waited_for(lookup, set(wanted) - derived.keys(), keys, asker)
                wanted = steps.send([derived[value] for value in wanted])
        except StopIteration as end:
            result: T = end.value
            return result
        finally:
            if lookup.in_room:
                with self._lock:
                    lookup.is_over = True
                    self._rooms[asker.method].remove(lookup.client, lookup)

    def _at_once(
        self, wanted: Wanted, matcher: Matcher, keys: CachedStretch
    ) -> dict[Unstretched, bytes]:
        """What is in memory, or costs less than waiting for it."""
        found = {}
        for value in wanted:
            stretched = keys(*value) if value[0] in matcher.quick_kinds else keys.cached(*value)
            if stretched is not None:
                found[value] = stretched
        return found

    def _waited_for(
        self, lookup: _Waiting, missing: set[Unstretched], keys: CachedStretch, asker: Asker
    ) -> dict[Unstretched, bytes]:
        with self._lock:
            if not lookup.in_room:
                self._make_room(lookup, self._rooms[asker.method])
            lookup.woken.clear()
            lookup.missing = len(missing)
            for value in missing:
                self._derivations.want(keys, value, lookup)
            self._derivations.hand_over()
        self._wait(lookup, asker)
        if lookup.cut is not None:
            raise NoVerdictError(lookup.cut)
        return lookup.derived

    def _make_room(self, lookup: _Waiting, room: WaitingRoom[_Waiting]) -> None:
        """Let a look-up wait. If all that may wait do, one of a client with many gives way."""
        while not room.has_room(0):
            if room.is_heavy(lookup.client):
                raise NoVerdictError("client-share-used-up")
            other = room.gives_way(lookup.client)
            if other is None:
                # Many clients, and none has many. Its connection is occupied anyway.
                break
            room.remove(other.client, other)
            other.end("client-share-used-up")
        room.add(lookup.client, lookup, 0)
        lookup.in_room = True

    def _wait(self, lookup: _Waiting, asker: Asker) -> None:
        room = self._rooms[asker.method]
        # Longer each time: hundreds that wait would else take the processor by waking up.
        seconds = URGENT_SECONDS
        while True:
            left = max(0.0, asker.until - time.monotonic())
            # One client's many threads wake for nothing: nobody hurries for them.
            may_hurry = not room.is_heavy(lookup.client)
            if lookup.woken.wait(min(seconds, left) if may_hurry else left):
                return
            seconds = min(2 * seconds, _LONGEST_WAIT_SECONDS)
            if time.monotonic() >= asker.until:
                with self._lock:
                    if not lookup.woken.is_set():
                        lookup.end("deadline-passed")
            elif may_hurry:
                self._derivers.hurry()

    def _deliver_all(self) -> None:
        """Until the end; on a thread of normal priority, for it holds locks that others need."""
        while not self._is_over:
            # Whatever fails, those who wait for the next values still get them. (`suppress`: a
            # signal may end the reading.)
            with contextlib.suppress(InterruptedError):
                os.eventfd_read(self._derived)
            try:
                self._collect()
            except Exception as error:  # noqa: BLE001
                what = f"values cannot be delivered: {type(error).__name__}"
                self._monitor.met("lookup-failed", what)

    def _collect(self) -> None:
        """Take what was derived to those who wait for it."""
        with self._lock:
            while done := self._derivations.result():
                for lookup in done.waiters:
                    _deliver(lookup, done.value, done.stretched)
            self._derivations.hand_over()


def _deliver(lookup: _Waiting, value: Unstretched, stretched: bytes | None) -> None:
    if not lookup.is_waiting:
        return
    if stretched is None:
        # The thread that derives has said why.
        lookup.end("")
        return
    lookup.derived[value] = stretched
    lookup.missing -= 1
    if not lookup.missing:
        lookup.woken.set()


def _places(settings: IcapSettings, method: str) -> int:
    """How many look-ups may wait in a worker, of messages of a method."""
    share = settings.connections_of(method) * _MAY_WAIT / settings.workers
    return max(1, round(share))
