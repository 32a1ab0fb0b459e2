"""What a format of files is made of."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from inkgate.rules.sources.attribute import Attribute
from inkgate.rules.sources.readers.source_file import SourceFile


class FileFormat(NamedTuple):
    """A format of files, as its module declares it for `registry`.

    Attributes:
        name: for people.
        suffixes: of the files that are taken from a folder, in lower case.
        is_format: whether a file is of this format, by its bytes; by its name only where
            they could be anything.
        read: gives all attributes of a file, or raises Unreadable before the first.
        names: of files that are taken from a folder, too.
    """

    name: str
    suffixes: tuple[str, ...]
    is_format: Callable[[SourceFile], bool]
    read: Callable[[SourceFile], Iterator[Attribute]]
    names: tuple[str, ...] = ()
