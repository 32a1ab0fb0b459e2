"""A plain list whose indicators all have one type."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from inkgate.config.errors import Unreadable
from inkgate.rules.sources.attribute import Attribute
from inkgate.rules.sources.last_good import LastGood
from inkgate.rules.sources.readers.plain_list import read_plain_list
from inkgate.rules.sources.source import Origin, SourceContext, SourceType


class ListSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="list"):
    """A plain list whose indicators all have one type."""

    path: str
    indicator_type: str


class TypedList:
    """A plain list whose indicators all have one type.

    Args:
        path: the list.
        indicator_type: a type of MISP.
        copies: keeps its last good copy.
    """

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


def _open(settings: ListSettings, context: SourceContext) -> TypedList:
    return TypedList(context.folder / settings.path, settings.indicator_type, context.copies)


SOURCE: Final = SourceType(ListSettings, _open)
