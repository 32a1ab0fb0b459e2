"""What a format of an export is, as the table in registry.py has it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from typing import NamedTuple

import msgspec

from inkgate.config.printable import printable_json
from inkgate.sightings.export_settings import ExportSettings
from inkgate.sightings.journal.sighting import Sighting


class Producer(NamedTuple):
    """Who exports.

    Attributes:
        installation: random id of the journal.
        version: of inkgate.
    """

    installation: str
    version: str


class FalsePositive(NamedTuple):
    """A mark of the help desk.

    Attributes:
        time: when it was made, in seconds since 1970.
        sighting: what it is about.
    """

    time: float
    sighting: Sighting


class Entry(NamedTuple):
    """A matched rule, and whether it is the first one that its request matched."""

    sighting: Sighting
    is_first: bool


OfEntry = Callable[[Producer, ExportSettings, Entry], Iterator[bytes]]
OfMark = Callable[[Producer, FalsePositive], Iterator[bytes]]


@dataclass(frozen=True)
class LineFormat:
    """Lines in a file.

    Attributes:
        name: in the settings.
        begins: how each line begins, so that a part of one is known for what it is.
        lines: of a matched rule, without line ends.
        marks: of a false positive; None where the format has no such thing.
    """

    name: str
    begins: bytes
    lines: OfEntry
    marks: OfMark | None = None


@dataclass(frozen=True)
class ObjectFormat:
    """Objects, one for each attribute, node and window: a folder of bundles, or a server.

    Attributes:
        name: in the settings.
    """

    name: str


ExportFormat = LineFormat | ObjectFormat


class Client(NamedTuple):
    """What a record has of its client; all empty if it has nothing.

    Attributes:
        address: a whole address.
        network: what `clients = "truncate"` leaves of one.
        pseudonym: what `clients = "hash"` makes of one, or any other text.
    """

    address: str = ""
    network: str = ""
    pseudonym: str = ""

    @property
    def text(self) -> str:
        """Whichever there is."""
        return self.address or self.network or self.pseudonym


def client_of(sighting: Sighting) -> Client:
    """Tell addresses from what the setting `clients` makes of them."""
    text = sighting.client if sighting.client != "-" else ""
    if _is_address(text):
        return Client(address=text.partition("%")[0])
    if _is_address(text.partition("/")[0]):
        return Client(network=text)
    return Client(pseudonym=text)


def json_line(record: dict[str, object]) -> bytes:
    """JSON without a line end, with nothing in it that a terminal would obey."""
    return printable_json(msgspec.json.encode(record)).encode()


def milliseconds(seconds: float) -> int:
    """Since 1970."""
    return round(seconds * 1000)


def _is_address(text: str) -> bool:
    try:
        ip_address(text.partition("%")[0])
    except ValueError:
        return False
    return True
