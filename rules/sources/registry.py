"""From the settings to the sources they name."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from inkgate.config.errors import Unreadable
from inkgate.rules.sources.attribute import Attribute
from inkgate.rules.sources.files import Files
from inkgate.rules.sources.last_good import LastGood
from inkgate.rules.sources.misp_feed import Feed
from inkgate.rules.sources.misp_mysql import MispMysql
from inkgate.rules.sources.misp_web import MispWeb
from inkgate.rules.sources.readers.plain_list import read_plain_list
from inkgate.rules.sources.settings import (
    FeedSettings,
    FilesSettings,
    ListSettings,
    MispMysqlSettings,
    MispWebSettings,
    SourceSettings,
)
from inkgate.rules.sources.source import Origin, Source


class TypedList:
    """A plain list whose indicators all have one type."""

    origin: Origin = "file"

    def __init__(self, path: Path, indicator_type: str, copies: LastGood) -> None:
        self._path = path
        self._type = indicator_type
        self._copies = copies

    def read(self, faults: list[Unreadable]) -> Iterator[Attribute]:
        """See `Source`."""
        yield from self._copies.read(self._path, self._reader, faults)

    def remembered(self, faults: list[Unreadable]) -> Iterator[Attribute]:
        """See `Source`."""
        yield from self._copies.remembered(self._path, self._reader, faults)

    def _reader(self, path: Path) -> Iterator[Attribute]:
        return read_plain_list(path, self._type)


def configured_sources(
    entries: Sequence[str | dict[str, object]],
    folder: Path,
    state: Path,
    copies: LastGood,
    *,
    full: bool = False,
) -> list[Source]:
    """The sources that the settings name, in their order.

    Args:
        entries: paths of files and folders, or one structure a source.
        folder: where relative paths of the settings begin.
        state: where sources keep what they have read.
        copies: keeps the last good readings.
        full: read everything anew.
    """
    sources: list[Source] = []
    paths = [folder / entry for entry in entries if isinstance(entry, str)]
    if paths:
        sources.append(Files(paths, copies))
    for entry in (msgspec.convert(e, SourceSettings) for e in entries if not isinstance(e, str)):
        match entry:
            case FilesSettings():
                sources.append(Files([folder / path for path in entry.paths], copies))
            case ListSettings():
                sources.append(TypedList(folder / entry.path, entry.indicator_type, copies))
            case FeedSettings():
                sources.append(Feed(entry, folder, state / _key(entry), copies))
            case MispWebSettings():
                mirror = state / f"{_key(entry)}.db"
                sources.append(MispWeb(entry, folder, mirror, full=full))
            case MispMysqlSettings():
                sources.append(MispMysql(entry, folder, copies))
    return sources


def _key(entry: FeedSettings | MispWebSettings) -> str:
    where = entry.location if isinstance(entry, FeedSettings) else entry.url
    return hashlib.sha256(msgspec.json.encode(where)).hexdigest()[:16]
