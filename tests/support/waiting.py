"""Waiting for what a test needs, instead of for a time that a busy machine exceeds."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Callable
from typing import TypeVar

import psutil

Seen = TypeVar("Seen")

_EVERY_SECONDS = 0.02
# Nobody waits so long for what comes: it only bounds what a failure costs.
_PATIENCE_SECONDS = 60.0


def wait_until(
    condition: Callable[[], Seen], what: str, seconds: float = _PATIENCE_SECONDS
) -> Seen:
    """Ask again and again until the answer is true.

    Args:
        condition: what is asked. What it raises ends the waiting, too.
        what: what has to come, as the failure is to say it.
        seconds: the longest wait. Give it only where the time itself is tested.

    Returns:
        the first answer that is true.

    Raises:
        AssertionError: it never came.
    """
    end = time.monotonic() + seconds
    while not (seen := condition()):
        assert time.monotonic() < end, f"this never came in {seconds:g} s: {what}"
        time.sleep(_EVERY_SECONDS)
    return seen


def wait_for_work(
    process: subprocess.Popen[bytes], cpu_seconds: float, at_most: float = _PATIENCE_SECONDS
) -> None:
    """Wait until a process has used so much processor time, or has ended.

    For a kill at some moment of a process's work. After a wall time, a busy machine may not
    have begun with what an idle one has ended.

    Args:
        cpu_seconds: user and system time of the process and all that it started.
        at_most: the longest wait in seconds, for a process that waits for something itself.
    """
    end = time.monotonic() + at_most
    while process.poll() is None and time.monotonic() < end:
        if _cpu_seconds(process.pid) >= cpu_seconds:
            return
        time.sleep(_EVERY_SECONDS / 10)


def _cpu_seconds(pid: int) -> float:
    """What a process, its children and those that have ended have used."""
    used = 0.0
    with contextlib.suppress(psutil.NoSuchProcess):
        root = psutil.Process(pid)
        for process in (root, *root.children(recursive=True)):
            used += sum(process.cpu_times()[:4])
    return used
