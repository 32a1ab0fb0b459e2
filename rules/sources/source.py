"""The one interface behind which all sources stand."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, Protocol

from inkgate.config.errors import Unreadable
from inkgate.rules.sources.attribute import Attribute

Origin = Literal["file", "web", "mysql"]


class Source(Protocol):
    """Somewhere that attributes come from."""

    origin: Origin

    def read(self, faults: list[Unreadable]) -> Iterator[Attribute]:
        """All attributes, one by one.

        What cannot be read is added to `faults`, and its last good reading counts
        instead: a source that is broken tonight must not unblock what it listed
        yesterday.
        """

    def remembered(self, faults: list[Unreadable]) -> Iterator[Attribute]:
        """Its last good reading, without asking the source: nothing if there was none."""
