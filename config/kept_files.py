"""Files as they were when they worked, for processes that start after they have changed.

A supervisor keeps the contents in memory (memfd_create(2)) and hands them down. Whoever
reads such a file asks here where to find it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

MAX_BYTES = 1 << 20
_places: dict[Path, int] = {}


def place_of(path: Path) -> Path:
    """Where to read a file: at its own place, or from what was kept of it."""
    descriptor = _places.get(path)
    return path if descriptor is None else Path(f"/proc/self/fd/{descriptor}")


def use(kept: Iterable[tuple[Path, int]]) -> None:
    """Read these from what was kept, and all others at their own places.

    Args:
        kept: files and the descriptors of their contents.
    """
    _places.clear()
    _places.update(kept)


def keep(path: Path) -> int:
    """A descriptor of a copy in memory.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is larger than 1 MiB.
    """
    with path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise ValueError(f"{path} is larger than 1 MiB")
    descriptor = os.memfd_create("inkgate-kept")
    with os.fdopen(os.dup(descriptor), "wb") as copy:
        copy.write(data)
    return descriptor
