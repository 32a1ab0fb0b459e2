"""The end of a helper that waits for others which warm up."""

from __future__ import annotations

import fcntl
import time
from pathlib import Path

from inkgate.rules.lookup.warming import LOCK, warming_lock


def test_waiting_for_others_ends_when_told_to(tmp_path: Path) -> None:
    pauses: list[float] = []

    def pause(seconds: float) -> bool:
        """Told to end in the third pause."""
        pauses.append(seconds)
        return len(pauses) == 3

    with (tmp_path / LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with warming_lock(tmp_path, time.monotonic() + 60, pause) as mine:
            assert not mine
    assert len(pauses) == 3
