"""A list whose indicators all have one type, or whose dialect is given."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal

import msgspec

from inkgate.config.errors import Unreadable
from inkgate.rules.canonical.misp_types import is_misp_type
from inkgate.rules.sources.attribute import Attribute
from inkgate.rules.sources.last_good import LastGood
from inkgate.rules.sources.readers.list_file import read_list
from inkgate.rules.sources.readers.source_file import SourceFile
from inkgate.rules.sources.source import Origin, SourceContext, SourceType


class ListSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="list"):
    """A list whose indicators all have one type, or whose format is given."""

    path: str
    indicator_type: str = ""
    format: Literal["", "hosts", "adblock", "dnsmasq", "unbound", "rpz", "plain"] = ""

    def __post_init__(self) -> None:
        if self.indicator_type and not is_misp_type(self.indicator_type):
            raise ValueError("indicator_type is not a type that MISP has")


class TypedList:
    """A list whose indicators all have one type, or whose dialect is given.

    Args:
        path: the list.
        indicator_type: a type of MISP; empty: as each line says.
        dialect: the list's format; empty: found out.
        copies: keeps its last good copy.
    """

    origin: Origin = "file"

    def __init__(self, path: Path, indicator_type: str, dialect: str, copies: LastGood) -> None:
        self._path = path
        self._type = indicator_type
        self._format = dialect
        self._copies = copies

    def read(self, faults: list[Unreadable]) -> Iterator[Attribute]:
        """See `Source`."""
        yield from self._copies.read(self._path, self._reader, faults)

    def remembered(self, faults: list[Unreadable]) -> Iterator[Attribute]:
        """See `Source`."""
        yield from self._copies.remembered(self._path, self._reader, faults)

    def _reader(self, file: SourceFile) -> Iterator[Attribute]:
        return read_list(file, self._type, self._format)


def _open(settings: ListSettings, context: SourceContext) -> TypedList:
    return TypedList(
        context.folder / settings.path, settings.indicator_type, settings.format, context.copies
    )


SOURCE: Final = SourceType(ListSettings, _open)
