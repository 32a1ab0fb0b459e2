"""Memory and descriptors of the processes that live for long."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import psutil

from support.soak.setup import Setup

MOST_GROWTH = 0.05
# What is opened once and kept: the journal, the key cache, a log.
_SPARE_DESCRIPTORS = 2
_SPARE_KIB = 1024


class Sample(NamedTuple):
    """A process while nothing asks it."""

    at: float
    memory_kib: int
    descriptors: int


class Life(NamedTuple):
    """One process.

    Attributes:
        setup: whose it is.
        program: what it is.
        pid: its process id.
        samples: in the order of time.
    """

    setup: str
    program: str
    pid: int
    samples: list[Sample]

    @property
    def text(self) -> str:
        """Its memory and descriptors over time."""
        seen = ", ".join(f"{s.memory_kib}/{s.descriptors}" for s in self.samples)
        return f"{self.setup} {self.program}[{self.pid}]: {seen} KiB/descriptors"

    def faults(self) -> list[str]:
        """What it lost or gained between its first sample and its last."""
        first, last = self.samples[0], self.samples[-1]
        found = []
        if last.memory_kib > first.memory_kib * (1 + MOST_GROWTH) + _SPARE_KIB:
            found.append(f"{first.memory_kib} KiB became {last.memory_kib}")
        if last.descriptors > first.descriptors + _SPARE_DESCRIPTORS:
            found.append(f"{first.descriptors} descriptors became {last.descriptors}")
        minutes = (last.at - first.at) / 60
        return [f"{self.setup}: {self.program} in {minutes:.0f} min: {text}" for text in found]


class Vitals:
    """Samples of all processes, by process.

    Args:
        warm_up_seconds: a process's age before which it is not looked at.
    """

    def __init__(self, warm_up_seconds: float) -> None:
        self._warm_up = warm_up_seconds
        self._lives: dict[tuple[int, float], Life] = {}

    def sample(self, setup: Setup, now: float) -> None:
        """Look at a set-up, which must be quiet."""
        for program, pid in self._processes(setup):
            with suppress(psutil.NoSuchProcess, OSError):
                process = psutil.Process(pid)
                started = process.create_time()
                if now - started < self._warm_up:
                    continue
                life = self._lives.setdefault((pid, started), Life(setup.name, program, pid, []))
                life.samples.append(Sample(now, _memory_kib(pid), process.num_fds()))

    def lives(self, least_seconds: float) -> list[Life]:
        """The processes that were looked at for at least so long."""
        return [
            life
            for life in self._lives.values()
            if life.samples[-1].at - life.samples[0].at >= least_seconds
        ]

    def _processes(self, setup: Setup) -> list[tuple[str, int]]:
        found = [("squid", pid) for pid in setup.squids()]
        if setup.front == "icap":
            found.append(("supervisor", setup.squid.icap.process.pid))
        name = "helper" if setup.front == "helper" else "worker"
        return found + [(name, pid) for pid in (*setup.helpers(), *setup.workers())]


def _memory_kib(pid: int) -> int:
    """Memory of its own: neither files nor what it shares."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1])
    return 0
