"""Finding source files and reading each as what it is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from rules.sources.attribute import Attribute
from rules.sources.misp_csv import read_csv_file
from rules.sources.misp_event import read_event_file
from rules.sources.unreadable import Unreadable

_SUFFIXES: Final = (".json", ".csv")
# Of a MISP feed's folder: the list of its events, and of hashes. Not indicators.
_NOT_EVENTS: Final = frozenset(("manifest.json", "hashes.csv"))


def find_files(paths: Iterable[Path]) -> list[Path]:
    """Files as given, and all *.json and *.csv below the given folders, in order.

    Raises:
        Unreadable: a path does not exist.
    """
    found: dict[Path, None] = {}
    for path in paths:
        if path.is_dir():
            found.update(dict.fromkeys(sorted(filter(_is_source, path.rglob("*")))))
        elif path.exists():
            found[path] = None
        else:
            raise Unreadable(path, None, "does not exist", "correct [rules] sources")
    return list(found)


def read_file(path: Path) -> Iterator[Attribute]:
    """The attributes of a MISP event or CSV file.

    Raises:
        Unreadable: whatever is wrong with the file.
    """
    if path.suffix == ".csv":
        return read_csv_file(path)
    return read_event_file(path)


def _is_source(path: Path) -> bool:
    return (
        path.suffix in _SUFFIXES
        and path.name not in _NOT_EVENTS
        and not path.name.startswith(".")
        and path.is_file()
    )
