"""Finding source files and reading each as what it is."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NoReturn

import msgspec

from inkgate.config.errors import Unreadable
from inkgate.rules.sources.attribute import Attribute
from inkgate.rules.sources.last_good import LastGood
from inkgate.rules.sources.readers.registry import has_known_name, read_file
from inkgate.rules.sources.source import Origin, SourceContext, SourceType

# Of a MISP feed's folder: the list of its events, and of hashes. Not indicators.
_NOT_EVENTS: Final = frozenset(("manifest.json", "hashes.csv"))


class FilesSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="files"):
    """Files and folders: MISP event JSON, CSV, STIX, lists."""

    paths: tuple[str, ...]


def find_files(paths: Iterable[Path], others: list[Path] | None = None) -> list[Path]:
    """Files as given, and all that can be indicators below the given folders, in order.

    Args:
        others: takes what lies in the folders and is not read: of another name, no regular
            file, or a link to a folder. Hidden ones are nobody's business.

    Raises:
        Unreadable: a path does not exist, or a folder cannot be looked into.
    """
    found: dict[Path, None] = {}
    for path in paths:
        if path.is_dir():
            below = sorted(_below(path))
            found.update(dict.fromkeys(filter(_is_source, below)))
            if others is not None:
                others += [p for p in below if p not in found and p.name not in _NOT_EVENTS]
        elif path.exists():
            found[path] = None
        else:
            raise Unreadable(path, None, "does not exist", "correct [rules] sources")
    return list(found)


def _below(folder: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(folder, onerror=_not_listed):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(place, name) for name in names if not name.startswith("."))
        yield from (Path(place, name) for name in folders if Path(place, name).is_symlink())


def _not_listed(error: OSError) -> NoReturn:
    # What it listed yesterday would be gone today, without a word.
    raise Unreadable(
        Path(str(error.filename)), None, error.strerror or "cannot be listed",
        "check the folder and its permissions",
    ) from None  # fmt: skip


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
        others: list[Path] = []
        for path in find_files(self._paths, others):
            yield from self._copies.read(path, read_file, faults)
        faults += [_not_taken(path) for path in others]

    def remembered(self, faults: list[Unreadable]) -> Iterator[Attribute]:
        """See `Source`."""
        for path in find_files(self._paths):
            yield from self._copies.remembered(path, read_file, faults)


def _is_source(path: Path) -> bool:
    return has_known_name(path) and path.name not in _NOT_EVENTS and not path.is_dir()


def _not_taken(path: Path) -> Unreadable:
    if path.is_dir():
        return Unreadable(
            path, None, "is a link to a folder", "name the folder in [rules] sources", is_note=True
        )
    return Unreadable(
        path, None, "is no source by its name",
        "name it in [rules] sources, or give it a name such as list.txt or event.json",
        is_note=True,
    )  # fmt: skip


def _open(settings: FilesSettings, context: SourceContext) -> Files:
    return Files([context.folder / path for path in settings.paths], context.copies)


SOURCE: Final = SourceType(FilesSettings, _open)
