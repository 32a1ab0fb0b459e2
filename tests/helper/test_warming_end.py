"""The end of a helper that waits for others which warm up."""

from __future__ import annotations

import fcntl
import threading
import time
from pathlib import Path

from inkgate.rules.lookup.warming import LOCK, one_at_a_time


def test_waiting_for_others_ends_when_told_to(tmp_path: Path) -> None:
    stop = threading.Event()
    with (tmp_path / LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        threading.Timer(0.2, stop.set).start()
        before = time.monotonic()
        with one_at_a_time(tmp_path, before + 60, stop.wait) as mine:
            assert not mine
        assert time.monotonic() - before < 20
