"""The one interface behind which all sources stand, and what a type of source is made of."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Generic, Literal, NamedTuple, Protocol, TypeVar

import msgspec

from inkgate.config.errors import Unreadable
from inkgate.rules.sources.attribute import Attribute
from inkgate.rules.sources.last_good import LastGood

Origin = Literal["web", "mysql", "file"]
SECONDS: Final = 3600.0
"""How long a source may take in all, if the settings say nothing."""

S = TypeVar("S", bound=msgspec.Struct)


class Source(Protocol):
    """Somewhere that attributes come from.

    Attributes:
        origin: what `inkgate-rules refresh --misp` calls it; `file` unless it is a MISP.
    """

    origin: Origin

    def read(self, faults: list[Unreadable]) -> Iterator[Attribute]:
        """All attributes, one by one.

        What cannot be read is added to `faults`, and its last good reading counts
        instead, so that what it listed stays blocked.
        """

    def remembered(self, faults: list[Unreadable]) -> Iterator[Attribute]:
        """Its last good reading, without asking the source: nothing if there was none."""


def unsaid(_: str) -> None:
    """Where nobody wants to hear what a source remarks."""


class SourceContext(NamedTuple):
    """What a source is opened with besides its settings.

    Attributes:
        folder: where relative paths of the settings begin.
        state: where sources keep what they have read.
        copies: keeps the last good readings.
        full: read everything anew, however fresh what is kept is.
        seconds: how long one source may take in all, before its last good reading counts.
        may_be_empty: whether a source may lose most of what it had at once.
        remark: is told what an operator should know of a reading that went well.
    """

    folder: Path
    state: Path
    copies: LastGood
    full: bool = False
    seconds: float = SECONDS
    may_be_empty: bool = False
    remark: Callable[[str], None] = unsaid

    def state_path(self, address: str, suffix: str = "") -> Path:
        """Where the source of an address keeps what it has read."""
        digest = hashlib.sha256(msgspec.json.encode(address)).hexdigest()
        return self.state / f"{digest[:16]}{suffix}"


@dataclass(frozen=True)
class SourceType(Generic[S]):
    """A type of source, as its module declares it for `registry`.

    Attributes:
        settings: an entry of `[[rules.sources]]`; the structure's tag is the entry's `type`.
        open: makes the source of such an entry. It reads nothing yet.
    """

    settings: type[S]
    open: Callable[[S, SourceContext], Source]
