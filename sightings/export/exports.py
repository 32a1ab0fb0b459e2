"""One export: what is next in the journal, to its place, and the position moved on."""

from __future__ import annotations

import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from inkgate.config.modes import make_folder
from inkgate.config.owner import OwnerError, refuse_other_owner
from inkgate.config.settings_file import SettingsError, resolve
from inkgate.config.whole_file import write_whole
from inkgate.sightings.errors import JournalError
from inkgate.sightings.export.errors import ExportAway, ExportRefused
from inkgate.sightings.export.format import Entry, LineFormat, Producer
from inkgate.sightings.export.ledger import Ledger
from inkgate.sightings.export.lines import MODE, LineFile
from inkgate.sightings.export.registry import BY_NAME
from inkgate.sightings.export.stix import Json, Seen, Teller, bundle, identities, opinions, sighting
from inkgate.sightings.export.taxii import Collection
from inkgate.sightings.export_settings import ExportSettings
from inkgate.sightings.journal.records import JournalRecord

Met = Callable[[str, str, int], None]
"""Told the name of a condition, what exactly, and how many records it concerns."""
Send = Callable[[Sequence[Json]], None]
"""Takes STIX objects to their place; raises as `Export.step` does."""

_FOLDER_MODE: Final = 0o750
_FOLD_ROWS: Final = 2000
_HOUR: Final = 3600


class ExportContext(NamedTuple):
    """What all exports of a journal have in common.

    Attributes:
        config: the settings file; relative paths begin in its folder.
        journal: the file.
        window: one sighting per attribute, node and this time, in seconds.
        keep: how long what was told is remembered, in seconds.
        met: told of what is lost or refused.
    """

    config: Path
    journal: Path
    window: int
    keep: float
    met: Met


class Export(ABC):
    """One export of one journal. For one thread; close it.

    Args:
        settings: of the export.
        context: see there.
    """

    def __init__(self, settings: ExportSettings, context: ExportContext) -> None:
        self.settings = settings
        self._context = context
        self._opened: Ledger | None = None
        self._lost_to = 0
        self._forget_at = 0.0

    @property
    def name(self) -> str:
        """For people."""
        return self.settings.name

    def step(self) -> int:
        """Export some of what there is; how many records or objects that was.

        Raises:
            ExportAway, ExportRefused: nothing is taken now; it stays in the journal.
        """
        try:
            self._forget_if_due()
            return self._step()
        except JournalError as error:
            self._close_ledger()
            raise ExportAway(str(error)) from None

    def unread(self) -> int:
        """How many records wait.

        Raises:
            JournalError: the journal cannot be used.
        """
        return self._ledger.unread()

    def close(self) -> None:
        """Close all files."""
        self._close_ledger()

    @abstractmethod
    def _step(self) -> int: ...

    @property
    def _ledger(self) -> Ledger:
        if self._opened is None:
            self._opened = Ledger(self._context.journal, self.settings)
        return self._opened

    def _close_ledger(self) -> None:
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    def _records(self, after: int, limit: int) -> list[JournalRecord]:
        found = self._ledger.next(after, limit)
        lost = self._ledger.lost(after, found)
        if lost and self._lost_to < found[0].id:
            # Said once, also if the place is away and the same records are read again.
            self._lost_to = found[0].id
            what = f"{self.name}: {lost} records are gone from the journal"
            self._context.met("export-lost", what, lost)
        return found

    def _forget_if_due(self) -> None:
        if time.monotonic() >= self._forget_at:
            self._ledger.forget(time.time() - self._context.keep)
            self._forget_at = time.monotonic() + _HOUR


class LineExport(Export):
    """Lines in a file."""

    def __init__(
        self, settings: ExportSettings, context: ExportContext, line_format: LineFormat
    ) -> None:
        super().__init__(settings, context)
        self._format = line_format
        self._file = LineFile(resolve(context.config, settings.file), line_format.begins)
        # What is in the file, though the journal may not know it yet: it may be on a full disk.
        self._written: int | None = None
        self._marked: int | None = None

    def close(self) -> None:
        """Close all files."""
        super().close()
        self._file.close()

    def _step(self) -> int:
        self._note()
        return self._export_records() + self._export_marks()

    def _export_records(self) -> int:
        after = self._ledger.position()
        found = self._records(after, self.settings.batch)
        if not found:
            return 0
        producer = self._producer()
        self._write(
            line
            for entry in _entries(self._ledger.before(after), found)
            for line in self._format.lines(producer, self.settings, entry)
        )
        self._written = found[-1].id
        self._note()
        return len(found)

    def _export_marks(self) -> int:
        of_mark = self._format.marks
        marks = self._ledger.marks(self.settings.batch) if of_mark else []
        if not marks or of_mark is None:
            return 0
        producer = self._producer()
        self._write(line for _, mark in marks for line in of_mark(producer, mark))
        self._marked = marks[-1][0]
        self._note()
        return len(marks)

    def _write(self, lines: Iterable[bytes]) -> None:
        if whole := b"".join(line + b"\n" for line in lines):
            self._file.append(whole)

    def _note(self) -> None:
        """Move positions to where the file is; lines that are in it are not written again."""
        if self._written is not None:
            self._ledger.advance(self._written)
            self._written = None
        if self._marked is not None:
            self._ledger.advance_marks(self._marked)
            self._marked = None

    def _producer(self) -> Producer:
        return Producer(self._ledger.installation, _version())


class ObjectExport(Export):
    """STIX objects, one for each attribute, node and window."""

    def __init__(self, settings: ExportSettings, context: ExportContext, send: Send) -> None:
        super().__init__(settings, context)
        self._send = send
        self._due = 0.0

    def _step(self) -> int:
        folded = self._fold()
        # All that is there is folded before it is told: fewer versions of each.
        if folded >= _FOLD_ROWS or time.monotonic() < self._due:
            return folded
        told = self._tell() + self._tell_marks()
        if not told:
            # What comes now gathers for a while.
            self._due = time.monotonic() + self.settings.gather_seconds
        return folded + told

    def _fold(self) -> int:
        ledger = self._ledger
        found = self._records(ledger.position(), _FOLD_ROWS)
        if found:
            ledger.fold(found, self._context.window)
        return len(found)

    def _tell(self) -> int:
        ledger = self._ledger
        seen: list[Seen] = ledger.offer(self.settings.batch)
        if seen:
            teller = self._teller()
            self._send(
                [
                    *identities(teller, (s.node for s in seen)),
                    *(sighting(teller, s) for s in seen),
                ]
            )
            ledger.told(seen)
        return len(seen)

    def _tell_marks(self) -> int:
        ledger = self._ledger
        marks = ledger.marks(self.settings.batch)
        if marks:
            teller = self._teller()
            told = [opinion for _, mark in marks for opinion in opinions(teller, mark)]
            nodes = (mark.sighting.node for _, mark in marks)
            if told:
                self._send([*identities(teller, nodes), *told])
            ledger.advance_marks(marks[-1][0])
        return len(marks)

    def _teller(self) -> Teller:
        return Teller(self._ledger.installation, self.settings.organisation)


def export_of(settings: ExportSettings, context: ExportContext) -> Export:
    """The export that an entry of the settings describes.

    Raises:
        SettingsError: it has no such format, or a place that its format cannot have.
        Unreadable: a secret is not there.
    """
    config = context.config
    found = BY_NAME.get(settings.format)
    if found is None:
        known = ", ".join(BY_NAME)
        raise SettingsError(
            config, f"export: there is no format {settings.format!r}", f"the formats are {known}"
        )
    if isinstance(found, LineFormat):
        if not settings.file:
            raise SettingsError(config, f"export: {found.name} goes to a file", "name it in file")
        return LineExport(settings, context, found)
    if settings.file:
        raise SettingsError(
            config,
            f"export: {found.name} goes to a folder or to a TAXII server",
            "name it in folder or url",
        )
    send = (_to_taxii if settings.url else _to_folder)(settings, context)
    return ObjectExport(settings, context, send)


def _to_folder(settings: ExportSettings, context: ExportContext) -> Send:
    folder = resolve(context.config, settings.folder)

    def send(objects: Sequence[Json]) -> None:
        whole = bundle(objects)
        when = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        path = folder / f"{when}-{str(whole['id']).removeprefix('bundle--')}.json"
        try:
            refuse_other_owner(folder.parent if not os.path.lexists(folder) else folder)
            make_folder(folder, _FOLDER_MODE)
            write_whole(path, msgspec.json.encode(whole) + b"\n", MODE)
        except OwnerError as error:
            raise ExportRefused(str(error)) from None
        except OSError as error:
            raise ExportAway(f"{folder}: {error.strerror or 'cannot be written'}") from None

    return send


def _to_taxii(settings: ExportSettings, context: ExportContext) -> Send:
    collection = Collection(settings, context.config.absolute().parent)

    def refused(name: str, why: str) -> None:
        context.met("export-refused", f"{settings.name}: {name}: {why}", 1)

    return lambda objects: collection.add(objects, refused)


@cache
def _version() -> str:
    return version("inkgate")


def _entries(before: str, found: Sequence[JournalRecord]) -> Iterator[Entry]:
    """Records that are told, with the first one of each request."""
    for record in found:
        sighting = record.sighting
        if sighting.is_canary:
            continue
        yield Entry(sighting, is_first=sighting.incident != before)
        before = sighting.incident
