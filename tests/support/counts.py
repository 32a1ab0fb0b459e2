"""What a process has done that `counted.py` runs."""

from __future__ import annotations

import fcntl
import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from inkgate.rules.lookup.warming import LOCK
from support.installation import Installation

_NUMBERS = itertools.count()


class Counts:
    """The file that such a process writes.

    Attributes:
        path: a new file in the folder.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / f"counts-{next(_NUMBERS)}"
        self.path.touch()

    @property
    def derivations(self) -> int:
        """How many it has made so far."""
        return self.path.read_text().lower().count("d")

    @property
    def openings(self) -> int:
        """How often it has opened a rule set, or tried to."""
        return self.path.read_text().lower().count("o")

    @property
    def on_main_thread(self) -> str:
        """What of it was done on the main thread, a letter each."""
        return "".join(filter(str.isupper, self.path.read_text()))

    @contextmanager
    def held(self) -> Iterator[None]:
        """No derivation begins before the end of this, however quick the machine is."""
        with self.path.open() as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def is_warming_up(installation: Installation) -> bool:
    """Whether some process of an installation warms up new rules."""
    with (installation.places.key_cache / LOCK).open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False
