"""Finding source files and reading each as what it is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import msgspec

from inkgate.config.errors import Unreadable
from inkgate.rules.sources.attribute import Attribute
from inkgate.rules.sources.last_good import LastGood
from inkgate.rules.sources.readers.registry import has_known_suffix, read_file
from inkgate.rules.sources.source import Origin, SourceContext, SourceType

# Of a MISP feed's folder: the list of its events, and of hashes. Not indicators.
_NOT_EVENTS: Final = frozenset(("manifest.json", "hashes.csv"))


class FilesSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="files"):
    """Files and folders: MISP event JSON, MISP CSV, STIX 2.1, plain lists."""

    paths: tuple[str, ...]


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
    return (
        has_known_suffix(path)
        and path.name not in _NOT_EVENTS
        and not path.name.startswith(".")
        and path.is_file()
    )


def _open(settings: FilesSettings, context: SourceContext) -> Files:
    return Files([context.folder / path for path in settings.paths], context.copies)


SOURCE: Final = SourceType(FilesSettings, _open)
