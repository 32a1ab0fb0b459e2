"""What a format of files is made of."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from inkgate.rules.sources.attribute import Attribute


class FileFormat(NamedTuple):
    """A format of files, as its module declares it for `registry`.

    Attributes:
        name: for people.
        suffixes: of the files that are taken from a folder.
        is_format: whether a file is of this format, by its last two suffixes and its bytes.
            Of a last good copy the rest of the name is another one.
        read: gives all attributes of a file, or raises Unreadable before the first.
    """

    name: str
    suffixes: tuple[str, ...]
    is_format: Callable[[Path], bool]
    read: Callable[[Path], Iterator[Attribute]]
