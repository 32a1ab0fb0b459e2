"""The formats of source files.

A new format is one module beside this one, with a `FORMAT`, and one line in
`FILE_FORMATS`, before the plain list.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from inkgate.rules.sources.attribute import Attribute
from inkgate.rules.sources.readers import misp_csv, misp_event, plain_list, stix
from inkgate.rules.sources.readers.file_format import FileFormat

# In this order: a file is of the first format that takes it, and a plain list takes any.
FILE_FORMATS: Final[tuple[FileFormat, ...]] = (
    stix.FORMAT,
    misp_event.FORMAT,
    misp_csv.FORMAT,
    plain_list.FORMAT,
)

_SUFFIXES: Final = frozenset(suffix for form in FILE_FORMATS for suffix in form.suffixes)


def has_known_suffix(path: Path) -> bool:
    """Whether a folder's file can hold indicators, by its name; a list may be compressed."""
    suffix = Path(path.stem).suffix if path.suffix in plain_list.COMPRESSED else path.suffix
    return suffix in _SUFFIXES


def read_file(path: Path) -> Iterator[Attribute]:
    """The attributes of a file, read as what it is.

    Raises:
        Unreadable: whatever is wrong with the file.
    """
    return next(form for form in FILE_FORMATS if form.is_format(path)).read(path)
