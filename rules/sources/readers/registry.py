"""The formats of source files.

A new format is one module beside this one, with a `FORMAT`, and one line in
`FILE_FORMATS`, before the list.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from inkgate.rules.sources.attribute import Attribute
from inkgate.rules.sources.readers import (
    column_csv,
    drop_json,
    list_file,
    misp_csv,
    misp_event,
    stix,
)
from inkgate.rules.sources.readers.file_format import FileFormat
from inkgate.rules.sources.readers.source_file import SourceFile, unpacked_name

# In this order: a file is of the first format that takes it, and a list takes any.
FILE_FORMATS: Final[tuple[FileFormat, ...]] = (
    stix.FORMAT,
    drop_json.FORMAT,
    misp_event.FORMAT,
    misp_csv.FORMAT,
    column_csv.FORMAT,
    list_file.FORMAT,
)

_SUFFIXES: Final = frozenset(suffix for form in FILE_FORMATS for suffix in form.suffixes)
_NAMES: Final = frozenset(name for form in FILE_FORMATS for name in form.names)


def has_known_name(path: Path) -> bool:
    """Whether a folder's file can hold indicators, by its name; it may be compressed."""
    name = unpacked_name(path.name)
    return Path(name).suffix in _SUFFIXES or name in _NAMES


def read_file(file: SourceFile) -> Iterator[Attribute]:
    """The attributes of a file, read as what it is.

    Raises:
        Unreadable: whatever is wrong with the file.
    """
    return next(form for form in FILE_FORMATS if form.is_format(file)).read(file)


def read_path(path: Path) -> Iterator[Attribute]:
    """The attributes of a file, read as what it is.

    Raises:
        Unreadable: whatever is wrong with the file.
    """
    return read_file(SourceFile(path))
