"""MISP feeds: a folder or a web server with a manifest.json and one event a file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from inkgate.config.errors import Unreadable
from inkgate.config.modes import make_folder
from inkgate.rules.sources.attribute import Attribute
from inkgate.rules.sources.feed_manifest import (
    MANIFEST,
    is_event_name,
    read_event,
    read_manifest,
    write_manifest,
)
from inkgate.rules.sources.feed_mirror import FeedMirror, FeedSettings, shortened
from inkgate.rules.sources.last_good import LastGood
from inkgate.rules.sources.losses import check_loss
from inkgate.rules.sources.readers.misp_event import read_event_file
from inkgate.rules.sources.source import SECONDS, Origin, SourceContext, SourceType


class Feed:
    """A MISP feed.

    Args:
        settings: where it is.
        folder: where relative paths of the settings begin.
        mirror: where events of a web server are kept.
        copies: keeps the last good copies of a folder's events.
        seconds: how long a web server may take in all.
        may_be_empty: whether it may lose most of its events at once.
    """

    origin: Origin = "file"

    def __init__(
        self,
        settings: FeedSettings,
        folder: Path,
        mirror: Path,
        copies: LastGood,
        *,
        seconds: float = SECONDS,
        may_be_empty: bool = False,
    ) -> None:
        self._settings = settings
        self._base = folder
        self._mirror = mirror
        self._copies = copies
        self._seconds = seconds
        self._may_be_empty = may_be_empty

    def read(self, faults: list[Unreadable]) -> Iterator[Attribute]:
        """See `Source`."""
        if self._settings.is_fetched:
            self._fetch(faults)
            yield from self._mirrored(faults)
        else:
            folder = self._base / self._settings.location
            failed: list[Unreadable] = []
            for name in sorted(self._in_folder(folder, faults)):
                yield from self._copies.read(folder / f"{name}.json", read_event_file, failed)
            faults += shortened(folder, failed)

    def remembered(self, faults: list[Unreadable]) -> Iterator[Attribute]:
        """See `Source`."""
        if self._settings.is_fetched:
            yield from self._mirrored(faults)
            return
        folder = self._base / self._settings.location
        for name in sorted(self._last(folder)):
            yield from self._copies.remembered(folder / f"{name}.json", read_event_file, faults)

    def _fetch(self, faults: list[Unreadable]) -> None:
        mirror = FeedMirror(
            self._mirror,
            self._settings,
            self._base,
            seconds=self._seconds,
            may_be_empty=self._may_be_empty,
        )
        try:
            mirror.update(faults)
        except Unreadable as fault:
            faults.append(fault)

    def _mirrored(self, faults: list[Unreadable]) -> Iterator[Attribute]:
        """What was downloaded, which was read before it was kept: it needs no other copy."""
        for name in sorted(self._last(self._mirror)):
            path = self._mirror / f"{name}.json"
            # What could not be downloaded is a fault already.
            if path.exists():
                try:
                    yield from read_event(path)
                except Unreadable as fault:
                    # Damaged on our own disk: it is downloaded again next time.
                    path.unlink(missing_ok=True)
                    faults.append(fault)

    def _in_folder(self, folder: Path, faults: list[Unreadable]) -> Iterable[str]:
        """The events that count of those in a folder."""
        try:
            new = read_manifest(folder, faults)
            last = read_manifest(self._mirror, []) if (self._mirror / MANIFEST).exists() else {}
            place = folder / MANIFEST
            check_loss(place, len(last), len(new), may_be_empty=self._may_be_empty)
        except Unreadable as fault:
            faults.append(fault)
            return self._last(folder)
        make_folder(self._mirror, 0o700, parents=0o700)
        write_manifest(self._mirror, new)
        return new

    def _last(self, folder: Path) -> Iterable[str]:
        """The events that counted last."""
        try:
            return read_manifest(self._mirror, [])
        except Unreadable:
            # Without a manifest nobody knows which still count: all that are there do.
            return [path.stem for path in folder.glob("*.json") if is_event_name(path.stem)]


def _open(settings: FeedSettings, context: SourceContext) -> Feed:
    return Feed(
        settings,
        context.folder,
        context.state_path(settings.location),
        context.copies,
        seconds=context.seconds,
        may_be_empty=context.may_be_empty,
    )


SOURCE: Final = SourceType(FeedSettings, _open)
