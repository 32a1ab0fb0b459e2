"""How long each stage of a refresh took, and how much of the processors it used."""

from __future__ import annotations

import os
import time
from typing import NamedTuple

from inkgate.config.progress import Progress


class Stage(NamedTuple):
    """A stage that has ended; times in seconds, `cpu` of all processes together."""

    name: str
    seconds: float
    cpu: float


class Stages:
    """Passes progress on and takes the times.

    Attributes:
        ended: the stages so far, in their order.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._name = ""
        self._began = (0.0, 0.0)
        self.ended: list[Stage] = []
        self.advance = progress.advance

    def start(self, stage: str, total: int | None) -> None:
        """See `Progress`."""
        self.end()
        self._name = stage
        self._began = _now()
        self._progress.start(stage, total)

    def end(self) -> None:
        """The last stage is over."""
        if self._name:
            wall, cpu = (now - then for now, then in zip(_now(), self._began, strict=True))
            self.ended.append(Stage(self._name, wall, cpu))
            self._name = ""


def _now() -> tuple[float, float]:
    times = os.times()
    return time.monotonic(), sum(times[:4])
