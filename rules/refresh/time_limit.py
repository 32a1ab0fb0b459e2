"""An end for a whole refresh, whatever it waits for.

Sources over the network have deadlines of their own. A file on a server that is gone, a hanging
disk, or a set that takes days would otherwise hold the publisher's lock for ever, and every
later refresh would be turned away.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

from inkgate.config.printable import to_stderr
from inkgate.rules.errors import RefreshError

_GRACE_SECONDS: Final = 60.0
_EXIT_STATUS: Final = 2

Handler = Callable[[int, FrameType | None], object] | int | None


class _OutOfTime(BaseException):
    """Not an Exception: what is caught and taken for a fault of a source goes on."""


@contextmanager
def time_limit(seconds: float, *, grace_seconds: float = _GRACE_SECONDS) -> Iterator[None]:
    """Break off what runs in the `with` when the time is over.

    In the main thread a signal (SIGALRM) interrupts what waits, and all that was begun is
    cleaned up. What does not end by that, as a read of a file that the system waits for, ends
    with the process. Whatever is left aside then is what a kill leaves.

    Args:
        seconds: how long it may take.
        grace_seconds: how long cleaning up may take.

    Raises:
        RefreshError: the time is over.
    """
    if threading.current_thread() is not threading.main_thread():
        # Python runs handlers of signals in the main thread alone.
        yield
        return
    limit = _Limit(seconds, grace_seconds)
    before: Handler = signal.signal(signal.SIGALRM, limit.on_alarm)
    limit.begin(before)
    try:
        yield
    except _OutOfTime:
        raise RefreshError(_told(seconds)) from None
    finally:
        limit.end()
        signal.signal(signal.SIGALRM, before)


class _Limit:
    """The thread that watches the time."""

    def __init__(self, seconds: float, grace_seconds: float) -> None:
        self._seconds, self._grace = seconds, grace_seconds
        self._main = threading.get_ident()
        self._done = threading.Event()
        self._is_over = self._has_ended = False
        self._before: Handler = None
        self._thread = threading.Thread(target=self._watch, daemon=True, name="time-limit")

    def begin(self, before: Handler) -> None:
        self._before = before
        self._thread.start()

    def end(self) -> None:
        self._has_ended = True
        self._done.set()
        self._thread.join()

    def on_alarm(self, number: int, frame: FrameType | None) -> None:
        if self._is_over:
            self._is_over = False
            if not self._has_ended:
                raise _OutOfTime
        elif callable(self._before):
            self._before(number, frame)

    def _watch(self) -> None:
        if self._done.wait(self._seconds):
            return
        self._is_over = True
        signal.pthread_kill(self._main, signal.SIGALRM)
        if not self._done.wait(self._grace):
            to_stderr("inkgate-rules", f"{_told(self._seconds)}; ended without cleaning up")
            os._exit(_EXIT_STATUS)


def _told(seconds: float) -> str:
    return (
        f"the refresh took longer than {seconds:g} s and was broken off; see which source hangs, "
        "or raise [rules] refresh_seconds"
    )
