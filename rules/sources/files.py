"""Finding source files and reading each as what it is."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

import msgspec

from inkgate.config.errors import Unreadable
from inkgate.rules.sources.attribute import Attribute
from inkgate.rules.sources.feed_manifest import MANIFEST, read_manifest
from inkgate.rules.sources.last_good import LastGood
from inkgate.rules.sources.losses import check_loss
from inkgate.rules.sources.readers.registry import has_known_name, read_file
from inkgate.rules.sources.source import Origin, SourceContext, SourceType

# Beside a MISP feed's manifest: its events' hashes.
_HASHES: Final = "hashes.csv"
_MISSING: Final = "correct [rules] sources"
_LOOK: Final = "check the folder and its permissions"


class FilesSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="files"):
    """Files and folders: MISP event JSON, CSV, STIX, lists."""

    paths: tuple[str, ...]


def find_files(
    paths: Iterable[Path], faults: list[Unreadable], others: list[Path] | None = None
) -> list[Path]:
    """Files as given, and all that can be indicators below the given folders, in order.

    Args:
        faults: takes paths that are not there, and folders that cannot be looked into.
        others: takes what lies in the folders and is not read: of another name, no regular
            file, or a link to a folder. Hidden ones are nobody's business, nor are a MISP
            feed's manifest and the hashes beside it.
    """
    found: dict[Path, None] = {}
    for path in paths:
        try:
            is_folder = stat.S_ISDIR(path.stat().st_mode)
        except OSError as error:
            faults.append(_missing(path, error))
            continue
        if not is_folder:
            found[path] = None
            continue
        below = sorted(_below(path, faults))
        of_feeds = _of_feeds(below)
        found.update((p, None) for p in below if p not in of_feeds and _is_source(p))
        if others is not None:
            others += [p for p in below if p not in found and p not in of_feeds]
    return list(found)


def _below(folder: Path, faults: list[Unreadable]) -> Iterator[Path]:
    def note(error: OSError) -> None:
        problem = error.strerror or "cannot be listed"
        faults.append(Unreadable(Path(str(error.filename)), None, problem, _LOOK))

    for place, folders, names in os.walk(folder, onerror=note):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(place, name) for name in names if not name.startswith("."))
        yield from (Path(place, name) for name in folders if _is(stat.S_ISLNK, Path(place, name)))


def _of_feeds(paths: Iterable[Path]) -> set[Path]:
    """The manifests of feeds among these files, and what belongs to them."""
    feeds = [path.parent for path in paths if path.name == MANIFEST and _is_feed(path.parent)]
    return {folder / name for folder in feeds for name in (MANIFEST, _HASHES)}


def _is_feed(folder: Path) -> bool:
    names_no_event: list[Unreadable] = []
    try:
        read_manifest(folder, names_no_event)
    except Unreadable:
        return False
    return not names_no_event


class Files:
    """Files and folders, each file with its last good copy.

    Args:
        paths: files and folders.
        copies: keeps the last good copies.
        may_be_empty: whether a folder may lose most of its files at once.
    """

    origin: Origin = "file"

    def __init__(
        self, paths: Iterable[Path], copies: LastGood, *, may_be_empty: bool = False
    ) -> None:
        self._paths = list(paths)
        self._copies = copies
        self._may_be_empty = may_be_empty

    def read(self, faults: list[Unreadable]) -> Iterator[Attribute]:
        """See `Source`."""
        others: list[Path] = []
        done: set[Path] = set()
        for given in self._paths:
            failed: list[Unreadable] = []
            found = find_files([given], failed, others)
            kept = self._kept(given, found, failed)
            faults += failed
            for path in found:
                if path not in done:
                    yield from self._copies.read(path, read_file, faults)
            for path in kept:
                if path not in done:
                    yield from self._copies.remembered(path, read_file, faults)
            done.update(found, kept)
        faults += [_not_taken(path) for path in dict.fromkeys(others)]

    def remembered(self, faults: list[Unreadable]) -> Iterator[Attribute]:
        """See `Source`."""
        files: dict[Path, None] = {}
        for given in self._paths:
            # A file that is given itself is in no list, and may be gone.
            known = self._copies.listed(given) or find_files([given], faults) or [given]
            files.update(dict.fromkeys(known))
        for path in files:
            yield from self._copies.remembered(path, read_file, faults)

    def _kept(self, given: Path, found: list[Path], failed: list[Unreadable]) -> list[Path]:
        """Files that are gone and still count as they were read last; why is added as a fault."""
        had = self._copies.listed(given)
        if not had:
            self._note(given, found)
            # It may be a file that is gone: no folder's list has it.
            return [given] if failed else []
        gone = sorted(set(had) - set(found))
        kept = {path for path in gone if any(path.is_relative_to(f.path) for f in failed)}
        missing = [path for path in gone if path not in kept]
        try:
            has = len(found) + len(kept)
            check_loss(given, len(had), has, may_be_empty=self._may_be_empty, what="files")
        except Unreadable as fault:
            failed.append(fault)
            kept.update(missing)
        else:
            kept.update(self._of_emptied_folders(missing, set(found) - set(had), found, failed))
        self._note(given, [*found, *kept])
        return sorted(kept)

    def _note(self, given: Path, files: list[Path]) -> None:
        if files != [given]:
            self._copies.note_listed(given, sorted(files))

    def _of_emptied_folders(
        self, missing: list[Path], new: set[Path], found: list[Path], failed: list[Unreadable]
    ) -> Iterator[Path]:
        """Missing files above which a folder stands without any, as where a mount is lost.

        Somebody who takes files out of the sources leaves others in their folder, removes it
        with them, or has moved them to another folder.
        """
        moved = {path.name for path in new}
        full = {folder for path in found for folder in path.parents}
        lost: dict[Path, list[Path]] = {}
        for path in missing:
            folder = next((p for p in path.parents if _is(stat.S_ISDIR, p)), path)
            if folder not in full and path.name not in moved:
                lost.setdefault(folder, []).append(path)
        for folder, files in lost.items():
            try:
                check_loss(folder, len(files), 0, may_be_empty=self._may_be_empty, what="files")
            except Unreadable as fault:
                failed.append(fault)
                yield from files


def _is(kind: Callable[[int], bool], path: Path) -> bool:
    """Whether something is of a kind that `stat` tells; not if it cannot be looked at."""
    try:
        return kind(path.stat(follow_symlinks=kind is not stat.S_ISLNK).st_mode)
    except OSError:
        return False


def _is_source(path: Path) -> bool:
    return has_known_name(path) and not _is(stat.S_ISDIR, path)


def _missing(path: Path, error: OSError) -> Unreadable:
    is_gone = isinstance(error, (FileNotFoundError, NotADirectoryError))
    problem = "does not exist" if is_gone else error.strerror or "cannot be looked at"
    return Unreadable(path, None, problem, _MISSING)


def _not_taken(path: Path) -> Unreadable:
    if _is(stat.S_ISDIR, path):
        return Unreadable(
            path, None, "is a link to a folder", "name the folder in [rules] sources", is_note=True
        )
    return Unreadable(
        path, None, "is no source by its name",
        "name it in [rules] sources, or give it a name such as list.txt or event.json",
        is_note=True,
    )  # fmt: skip


def _open(settings: FilesSettings, context: SourceContext) -> Files:
    paths = [context.folder / path for path in settings.paths]
    return Files(paths, context.copies, may_be_empty=context.may_be_empty)


SOURCE: Final = SourceType(FilesSettings, _open)
