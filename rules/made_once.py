"""Files that are made once and never replaced: keys and other secrets."""

from __future__ import annotations

import os
from pathlib import Path


def make_once(path: Path, data: bytes, mode: int) -> bool:
    """Make a file with all of its content, unless it exists. Whether it was made here.

    Written aside and linked (link(2) never replaces): whoever comes second, and
    whoever looks after a kill in the middle, sees all of the file or none.

    Raises:
        OSError: it can neither be made nor found.
    """
    if path.exists():
        return False
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(fd, "wb") as file:
            os.fchmod(fd, mode)
            file.write(data)
            file.flush()
            os.fsync(fd)
        os.link(temporary, path)
    except FileExistsError:
        return False
    finally:
        temporary.unlink()
    return True
