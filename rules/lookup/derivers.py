"""Threads that do nothing but derive, beside the one that serves.

The KDFs let go of the interpreter's lock, so a derivation costs the serving thread
a few microseconds: those of handing over a value and taking the result.
"""

from __future__ import annotations

import contextlib
import os
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple

from inkgate.health.monitor import Monitor
from inkgate.rules.crypto.derive import Unstretched
from inkgate.rules.lookup.stretching import CachedStretch, Unsaved

# The lowest priority: a thread that serves requests gets the processor from a thread that
# derives as soon as it wakes up (docs/decisions/0041).
NICE: Final = 19
# After a value the thread of normal priority rests, so many times as long as it had the processor.
# Under a flood somebody always waits for long, and for as long as that lasts it would take a
# processor from the threads that serve. What is dearer than usual is not left for seconds.
_RESTS: Final = 9
_LONGEST_REST_SECONDS: Final = 0.1
# For so long it waits for more: those who wait for values say once that they are late.
_STAYS_SECONDS: Final = 0.1

Job = tuple[CachedStretch, Unstretched]


class Result(NamedTuple):
    """A derivation that has ended; `stretched` is None if it failed."""

    keys: CachedStretch
    value: Unstretched
    stretched: bytes | None


class Derivers:
    """Derives values on threads of its own, which have the lowest priority.

    One more thread has the normal one. It works after `hurry`, for requests that have
    waited long because all processors are busy.

    Args:
        threads: how many have the lowest priority.
        wake: called on such a thread whenever there are results.
        monitor: told of derivations that fail.
    """

    def __init__(self, threads: int, wake: Callable[[], None], monitor: Monitor) -> None:
        self._wake = wake
        self._monitor = monitor
        self._todo: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._hurries: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._results: deque[Result] = deque()
        self._threads = [
            threading.Thread(target=self._work, name=f"derive-{n}", daemon=True)
            for n in range(threads)
        ]
        self._is_ending = threading.Event()
        self._helping = threading.Thread(target=self._help, name="derive-late", daemon=True)

    def start(self) -> None:
        """Start the threads."""
        for thread in (*self._threads, self._helping):
            thread.start()

    def stop(self) -> None:
        """Finish what was submitted, save it, and end the threads."""
        self._is_ending.set()
        self._hurries.put(False)
        self._helping.join()
        for _ in self._threads:
            self._todo.put(None)
        for thread in self._threads:
            thread.join()

    def submit(self, keys: CachedStretch, value: Unstretched) -> None:
        """Have a value derived."""
        self._todo.put((keys, value))

    def hurry(self) -> None:
        """Have the thread of normal priority work until nothing waits."""
        if self._hurries.empty():
            self._hurries.put(True)

    def result(self) -> Result | None:
        """One result, if there is any."""
        return self._results.popleft() if self._results else None

    def has_results(self) -> bool:
        """Whether there is one."""
        return bool(self._results)

    def _work(self) -> None:
        lower_priority()
        unsaved = Unsaved()
        # No variable here has the last job: while the thread waits, that would keep the
        # keys of an epoch that has ended in memory.
        while self._do(self._next(unsaved), unsaved):
            pass
        unsaved.write()

    def _help(self) -> None:
        unsaved = Unsaved()
        while self._hurries.get():
            with contextlib.suppress(queue.Empty):
                while not self._is_ending.is_set():
                    began = time.thread_time()
                    # There can be no None: `stop` waits for this thread first.
                    self._do(self._todo.get(timeout=_STAYS_SECONDS), unsaved)
                    rest = _RESTS * (time.thread_time() - began)
                    self._is_ending.wait(min(rest, _LONGEST_REST_SECONDS))
            unsaved.write()

    def _next(self, unsaved: Unsaved) -> Job | None:
        try:
            return self._todo.get_nowait()
        except queue.Empty:
            unsaved.write()
            return self._todo.get()

    def _do(self, job: Job | None, unsaved: Unsaved) -> bool:
        if job is None:
            return False
        keys, value = job
        stretched = self._derive(keys, value)
        if stretched is not None:
            keys.remember(*value, stretched)
            unsaved.add(keys, (*value, stretched))
        self._results.append(Result(keys, value, stretched))
        self._wake()
        return True

    def _derive(self, keys: CachedStretch, value: Unstretched) -> bytes | None:
        try:
            return keys.derive(*value)
        except Exception as error:  # noqa: BLE001
            # The text may hold the value that caused it, so only the type is said.
            self._monitor.met("lookup-failed", f"a derivation failed: {type(error).__name__}")
            return None


def lower_priority() -> None:
    """Give this thread less of the processor than others (setpriority(2): per thread on Linux)."""
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
