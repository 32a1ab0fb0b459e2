"""Running a command while watching what it and everything it starts cost."""

from __future__ import annotations

import os
import resource
import subprocess
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

import psutil

_EVERY_SECONDS = 0.02


class Cost(NamedTuple):
    """What a finished command cost.

    Attributes:
        seconds: wall time.
        cpu_seconds: user and system time of the whole tree of processes.
        tree_mib: largest sum of the resident memory of all its processes at one moment.
        process_mib: largest resident memory of any one of them.
        processes: largest number of processes at one moment.
        load: the machine's load average over a minute when it ended.
    """

    status: int
    output: str
    seconds: float
    cpu_seconds: float
    tree_mib: float
    process_mib: float
    processes: int
    load: float


def measure(
    command: Sequence[str | Path],
    environment: dict[str, str] | None = None,
    on_line: Callable[[str, float], None] = lambda line, now: None,
) -> Cost:
    """Run a command to its end; `on_line` gets each line it writes and the seconds so far."""
    before = _children_cpu()
    started = perf_counter()
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, **(environment or {})},
    )
    peaks = _Peaks(process.pid)
    watcher = threading.Thread(target=peaks.watch)
    watcher.start()
    lines = []
    assert process.stdout
    for line in process.stdout:
        lines.append(line)
        on_line(line, perf_counter() - started)
    process.stdout.close()
    # Read before it is waited for: a zombie still tells its largest size to nobody.
    peaks.stop()
    watcher.join()
    status = process.wait()
    seconds = perf_counter() - started
    return Cost(
        status,
        "".join(lines),
        round(seconds, 3),
        round(_children_cpu() - before, 3),
        round(peaks.tree / 2**20, 1),
        round(peaks.one / 2**20, 1),
        peaks.processes,
        os.getloadavg()[0],
    )


def _children_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


class _Peaks:
    def __init__(self, pid: int) -> None:
        self._root = psutil.Process(pid)
        self._stop = threading.Event()
        self.tree = 0
        self.one = 0
        self.processes = 0

    def watch(self) -> None:
        while not self._stop.wait(_EVERY_SECONDS):
            sizes = [size for process in self._all() if (size := _resident(process))]
            self.tree = max(self.tree, sum(sizes))
            self.one = max(self.one, *sizes, 0)
            self.processes = max(self.processes, len(sizes))

    def stop(self) -> None:
        self._stop.set()

    def _all(self) -> list[psutil.Process]:
        try:
            return [self._root, *self._root.children(recursive=True)]
        except psutil.Error:
            return []


def _resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0
