"""Finding source files and reading each as what it is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from inkgate.config.errors import Unreadable
from inkgate.rules.sources.attribute import Attribute
from inkgate.rules.sources.last_good import LastGood
from inkgate.rules.sources.readers.misp_csv import read_csv_file
from inkgate.rules.sources.readers.misp_event import read_event_file
from inkgate.rules.sources.readers.plain_list import read_plain_list
from inkgate.rules.sources.readers.stix import is_stix_file, read_stix_file
from inkgate.rules.sources.source import Origin

_LISTS: Final = (".txt", ".list", ".lst", ".hosts", ".dstdomain")
_PACKED: Final = (".gz", ".xz", ".bz2")
_SUFFIXES: Final = (".json", ".csv", *_LISTS)
# Of a MISP feed's folder: the list of its events, and of hashes. Not indicators.
_NOT_EVENTS: Final = frozenset(("manifest.json", "hashes.csv"))


def find_files(paths: Iterable[Path]) -> list[Path]:
    """Files as given, and all that can be indicators below the given folders, in order.

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
    """The attributes of a file: MISP event or STIX 2.1 (.json), MISP CSV (.csv), else a list.

    Raises:
        Unreadable: whatever is wrong with the file.
    """
    if path.suffix == ".csv":
        return read_csv_file(path)
    if path.suffix == ".json":
        return read_stix_file(path) if is_stix_file(path) else read_event_file(path)
    return read_plain_list(path)


class Files:
    """Files and folders, each file with its last good copy.

    Args:
        paths: files and folders.
        copies: keeps the last good copies.
    """

    origin: Origin = "file"

    def __init__(self, paths: Iterable[Path], copies: LastGood) -> None:
        self._paths = list(paths)
        self._copies = copies

    def read(self, faults: list[Unreadable]) -> Iterator[Attribute]:
        """See `Source`."""
        for path in find_files(self._paths):
            yield from self._copies.read(path, read_file, faults)

    def remembered(self, faults: list[Unreadable]) -> Iterator[Attribute]:
        """See `Source`."""
        for path in find_files(self._paths):
            yield from self._copies.remembered(path, read_file, faults)


def _is_source(path: Path) -> bool:
    suffix = Path(path.stem).suffix if path.suffix in _PACKED else path.suffix
    return (
        suffix in _SUFFIXES
        and path.name not in _NOT_EVENTS
        and not path.name.startswith(".")
        and path.is_file()
    )
