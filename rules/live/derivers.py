"""Threads that do nothing but derive, beside the one that serves.

The KDFs let go of the interpreter's lock, so a derivation costs the serving thread
a few microseconds: those of handing over a value and taking the result.
"""

from __future__ import annotations

import contextlib
import os
import queue
import threading
from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple

from rules.live.stretching import CachedStretch, Unsaved
from rules.steps import Value

# Serving goes before deriving when the machine has too little to do both.
NICE: Final = 5


class Result(NamedTuple):
    """A derivation that has ended; `stretched` is None if it failed."""

    keys: CachedStretch
    value: Value
    stretched: bytes | None


class Derivers:
    """Derives values on threads of its own.

    Args:
        threads: how many.
        wake: called on such a thread whenever there are results.
        log: takes one line without secrets.
    """

    def __init__(self, threads: int, wake: Callable[[], None], log: Callable[[str], None]) -> None:
        self._wake = wake
        self._log = log
        self._todo: queue.SimpleQueue[tuple[CachedStretch, Value] | None] = queue.SimpleQueue()
        self._results: deque[Result] = deque()
        self._threads = [
            threading.Thread(target=self._work, name=f"derive-{n}", daemon=True)
            for n in range(threads)
        ]

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Finish what was submitted, save it, and end the threads."""
        for _ in self._threads:
            self._todo.put(None)
        for thread in self._threads:
            thread.join()

    def submit(self, keys: CachedStretch, value: Value) -> None:
        """Have a value derived."""
        self._todo.put((keys, value))

    def result(self) -> Result | None:
        """One result, if there is any."""
        return self._results.popleft() if self._results else None

    def _work(self) -> None:
        step_back()
        unsaved = Unsaved()
        while job := self._next(unsaved):
            keys, value = job
            stretched = self._derive(keys, value)
            if stretched is not None:
                keys.remember(*value, stretched)
                unsaved.add(keys, (*value, stretched))
            self._results.append(Result(keys, value, stretched))
            self._wake()
        unsaved.write()

    def _next(self, unsaved: Unsaved) -> tuple[CachedStretch, Value] | None:
        try:
            return self._todo.get_nowait()
        except queue.Empty:
            unsaved.write()
            return self._todo.get()

    def _derive(self, keys: CachedStretch, value: Value) -> bytes | None:
        try:
            return keys.derive(*value)
        except Exception as error:  # noqa: BLE001
            # The text may hold the value that caused it, so only the type is said.
            self._log(f"a derivation failed: {type(error).__name__}")
            return None


def step_back() -> None:
    """Give this thread less of the processor than others (setpriority(2): per thread on Linux)."""
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
