"""Files that are opened only if they are regular ones.

A pipe in the place of a file would hold whoever opens it, and a device may give bytes
without end or do anything.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO, Final

NOT_REGULAR: Final = "is not a regular file"


def open_regular(path: Path) -> BinaryIO:
    """A file to read, at its first byte; links are followed.

    Raises:
        OSError: it cannot be opened, or is none (EINVAL, with `NOT_REGULAR`).
    """
    # Looked at first: opening alone may do something to a device.
    _check(path, path.stat())
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        # Somebody may have changed it meanwhile.
        _check(path, os.fstat(fd))
        return os.fdopen(fd, "rb")
    except BaseException:
        os.close(fd)
        raise


def _check(path: Path, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, NOT_REGULAR, str(path))
