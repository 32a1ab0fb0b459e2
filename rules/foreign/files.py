"""Foreign files, opened so that nothing but a file of bounded size is read."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

from inkgate.rules.foreign.errors import ForeignError

MAX_FILES: Final = 100_000
_SEND_AGAIN: Final = "ask for the rules again, as plain files"


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file; links, devices and pipes are refused (open(2), O_NOFOLLOW).

    Raises:
        ForeignError: it is something else, or cannot be opened.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        link = error.errno == errno.ELOOP
        problem = "is a symbolic link" if link else error.strerror or "cannot be opened"
        raise ForeignError(path, None, problem, _SEND_AGAIN) from None
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise ForeignError(path, None, "is not a regular file", _SEND_AGAIN)
    return os.fdopen(fd, "rb")


def read_bounded(path: Path, most: int) -> bytes:
    """All of a file.

    Raises:
        ForeignError: it is larger than `most` bytes, or cannot be read.
    """
    with open_regular(path) as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise ForeignError(
            path, None, f"is larger than {most:,} bytes", "this is not such a rule file"
        )
    return data


def lines_of(path: Path, most: int) -> Iterator[tuple[int, str]]:
    """The lines of a text file with their numbers, without line ends.

    Raises:
        ForeignError: a line is longer than `most` bytes or not UTF-8.
    """
    with open_regular(path) as file:
        for number, line in enumerate(iter(lambda: file.readline(most + 1), b""), 1):
            if len(line) > most:
                raise ForeignError(path, number, f"is longer than {most:,} bytes", _SEND_AGAIN)
            try:
                yield number, line.decode().rstrip("\r\n")
            except UnicodeDecodeError:
                raise ForeignError(path, number, "is not UTF-8", _SEND_AGAIN) from None


def files_in(folder: Path) -> list[str]:
    """Names in a folder, sorted.

    Raises:
        ForeignError: it cannot be listed, or holds too many.
    """
    try:
        with os.scandir(folder) as entries:
            names = sorted(e.name for e, _ in zip(entries, range(MAX_FILES + 1), strict=False))
    except OSError as error:
        raise ForeignError(
            folder, None, error.strerror or "cannot be listed", "name a folder of rules"
        ) from None
    if len(names) > MAX_FILES:
        raise ForeignError(folder, None, f"holds over {MAX_FILES:,} files", "split it")
    return names
