"""What goes wrong between a MISP and who asks it: seeded, and bounded."""

from __future__ import annotations

import random
import threading
from collections.abc import Sequence
from typing import Literal

Fault = Literal[
    "429", "429-retry-after", "429-rate-limit", "500", "hang", "cut", "not-json", "drop", "late"
]
ALL: tuple[Fault, ...] = ("429", "429-retry-after", "500", "hang", "cut", "not-json", "drop")


class Faults:
    """Decides which requests go wrong, and how.

    Kinds: `429` without and with Retry-After (of `retry_after` seconds), `429-rate-limit` as
    MISP's own limit answers (X-Rate-Limit-Reset and no Retry-After), `500`, `hang`
    (no answer for `hang_seconds`), `cut` (disconnected in the middle of the body),
    `not-json` (status 200 with a broken body), `drop` (disconnected without an answer),
    `late` (done, but not answered for `hang_seconds`; only where asked for).

    Args:
        seed: the same seed makes the same choices.
        rate: the part of the requests that go wrong.
        kinds: which faults to choose from.
        limit: how many at most.
        in_a_row: how many at most without a good answer in between.
    """

    def __init__(
        self,
        seed: int = 0,
        rate: float = 0.0,
        kinds: Sequence[Fault] = ALL,
        limit: int = 100,
        in_a_row: int = 2,
        hang_seconds: float = 1.5,
        retry_after: int = 1,
    ) -> None:
        self.hang_seconds = hang_seconds
        self.retry_after = retry_after
        self.made: list[Fault] = []
        self._random = random.Random(seed)
        self._rate = rate
        self._kinds = kinds
        self._limit = limit
        self._in_a_row = in_a_row
        self._row = 0
        self._lock = threading.Lock()

    def choose(self) -> Fault | None:
        """What goes wrong with the next request."""
        with self._lock:
            wrong = self._random.random() < self._rate
            if not wrong or len(self.made) >= self._limit or self._row >= self._in_a_row:
                self._row = 0
                return None
            self._row += 1
            self.made.append(self._random.choice(self._kinds))
            return self.made[-1]
