"""What worker processes do in tests; sent to them by name.

    python worked.py FOLDER

starts workers that note their process ids in the folder, and waits.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from inkgate.config.processes import Workers


@contextmanager
def doing(folder: Path) -> Iterator[Callable[[tuple[str, float]], int]]:
    """Work that notes when it began and ended."""
    (folder / f"{os.getpid()}.began").touch()

    def work(piece: tuple[str, float]) -> int:
        what, seconds = piece
        (folder / f"{os.getpid()}.{what}").touch()
        time.sleep(seconds)
        if what == "raise":
            raise ValueError("no good")
        return os.getpid()

    yield work
    (folder / f"{os.getpid()}.ended").touch()


if __name__ == "__main__":
    with Workers(2, doing, Path(sys.argv[1])) as workers:
        for _ in workers.results((n, ("sleep", 600.0)) for n in range(2)):
            pass
