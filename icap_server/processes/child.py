"""A worker process as its supervisor sees it."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Sequence
from typing import Final

from inkgate.config.errors import InkgateError
from inkgate.icap_server.processes.readiness import Readiness

# A worker is started again not before so long after its start; one that never served waits
# longer, since the next one will most likely fail as well.
_SHORT_LIFE_SECONDS: Final = 1.0
_FALSE_START_SECONDS: Final = 5.0


class WorkerError(InkgateError):
    """A worker cannot serve. Says why and what to do."""


class Child:
    """A worker, starting, serving or ended.

    Args:
        words: its command line.
        descriptors: what it inherits.

    Attributes:
        pid: its process id.
    """

    def __init__(self, words: Sequence[str], descriptors: Sequence[int]) -> None:
        reading, writing = os.pipe()
        self._readiness = Readiness(reading)
        try:
            # The worker reads from this pipe, and ends at its end: when this process ends.
            self._process = subprocess.Popen(
                [*words, "--ready", str(writing)],
                stdin=subprocess.PIPE,
                pass_fds=(*descriptors, writing),
            )
        finally:
            os.close(writing)
        self.pid = self._process.pid
        self._started = time.monotonic()

    def is_ready(self) -> bool:
        """Whether it serves; not yet, if not.

        Raises:
            WorkerError: it never will.
        """
        if not self._readiness.is_over():
            return False
        if not self._readiness.is_ready:
            reason = self._readiness.reason or (
                f"worker {self.pid} ended before it could serve; what it said is above"
            )
            raise WorkerError(reason)
        return True

    @property
    def has_rules(self) -> bool:
        """Whether it had rules when it began to serve."""
        return self._readiness.has_rules

    def has_ended(self) -> bool:
        """Whether it is gone."""
        return self._process.poll() is not None

    def is_due(self) -> bool:
        """Whether it is gone and it is time to start another."""
        if not self.has_ended():
            return False
        self._readiness.is_over()
        least = _SHORT_LIFE_SECONDS if self._readiness.is_ready else _FALSE_START_SECONDS
        return time.monotonic() - self._started >= least

    def how_it_ended(self) -> str:
        """How it ended, for the log."""
        reason = self._readiness.reason
        status = f"worker {self.pid} ended with status {self._process.returncode}"
        return f"{status} ({reason})" if reason else status

    def terminate(self) -> None:
        """Tell it to end what is under way and go."""
        self._process.terminate()

    def wait(self, seconds: float) -> None:
        """Wait for its end; after the time it is killed."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
