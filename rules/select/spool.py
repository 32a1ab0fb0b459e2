"""The spool: records on their way from the sources to the rules, split into partitions.

Records that share derivations (names under one domain, everything about one
address) fall into one partition, so partitions can be sealed side by side without
deriving anything twice, and a set of any size needs the memory of one partition.
The files hold clear indicators: they stay with the publisher and are removed.
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from inkgate.config.modes import make_folder
from inkgate.config.whole_file import naming
from inkgate.rules.canonical import class_of
from inkgate.rules.errors import RefreshError
from inkgate.rules.select.indicators import Record
from inkgate.rules.select.network_lengths import (
    FULL,
    MOST_LENGTHS,
    MOST_PIECES,
    NETWORK_CLASSES,
    Lengths,
    kept_lengths,
    length_of,
    next_kept,
    pieces,
    pieces_needed,
)

PARTITIONS: Final = 64
_LENGTH_BYTES: Final = 4

_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Record)

Counts = dict[str, dict[int, int]]


class Portion(msgspec.Struct, array_like=True):
    """Some records of one partition.

    Attributes:
        records: their number.
        data: each of them after its length in bytes.
        classes: those that they are of.
        lengths: how many addresses and networks have which prefix length, by IP version.
    """

    records: int
    data: bytes
    classes: set[str]
    lengths: dict[str, dict[int, int]]


class Partition(NamedTuple):
    """A finished partition: its file, how many records it has, and a digest of them."""

    number: int
    path: Path
    records: int
    digest: bytes


def portions(records: Iterable[Record]) -> dict[int, Portion]:
    """Records by their partition, in their order."""
    counts: dict[int, int] = {}
    parts: dict[int, bytearray] = {}
    classes: dict[int, set[str]] = {}
    lengths: dict[int, Counts] = {}
    encode = _ENCODER.encode
    for record in records:
        number = zlib.crc32(record.base()) % PARTITIONS
        if number not in parts:
            parts[number] = bytearray()
            classes[number] = set()
            lengths[number] = {}
        data = encode(record)
        parts[number] += len(data).to_bytes(_LENGTH_BYTES) + data
        counts[number] = counts.get(number, 0) + 1
        classes[number].add(record.indicator_class)
        if record.indicator_class in NETWORK_CLASSES:
            version, length = length_of(record.data.decode())
            _add(lengths[number], version, length, 1)
    return {
        number: Portion(counts[number], bytes(data), classes[number], lengths[number])
        for number, data in parts.items()
    }


class Spool:
    """Collects records on disk.

    Args:
        folder: an empty folder of its own, made here with mode 0700.

    Attributes:
        classes: those of all records so far.
        lengths: how many addresses and networks have which prefix length, by IP version.
    """

    def __init__(self, folder: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        make_folder(folder, 0o700)
        self._folder = folder
        self._paths = [folder / f"{number:02d}.records" for number in range(PARTITIONS)]
        self._files = [path.open("wb") for path in self._paths]
        # Of the records in their order, not of the portions in which they came.
        self._digests = [hashlib.blake2b(digest_size=16) for _ in range(PARTITIONS)]
        self._counts = [0] * PARTITIONS
        self.classes: set[str] = set()
        self.lengths: Counts = {}

    @property
    def is_empty(self) -> bool:
        """Whether there is no record."""
        return not any(self._counts)

    @property
    def records(self) -> int:
        """How many there are."""
        return sum(self._counts)

    def take(self, parts: Mapping[int, Portion]) -> None:
        """Keep records."""
        with naming(self._folder):
            for number, portion in parts.items():
                self._files[number].write(portion.data)
                self._digests[number].update(portion.data)
                self._counts[number] += portion.records
                self.classes |= portion.classes
                for version, counts in portion.lengths.items():
                    for length, count in counts.items():
                        _add(self.lengths, version, length, count)

    def narrow(self) -> dict[str, tuple[int, ...]]:
        """Leave so few prefix lengths as a set may have; returns them by IP version.

        Raises:
            RefreshError: too many networks would take the place of those that are listed.
        """
        kept = {v: kept_lengths(n, MOST_LENGTHS[v]) for v, n in self.lengths.items()}
        made = sum(pieces_needed(counts, kept[v]) for v, counts in self.lengths.items())
        if made > MOST_PIECES:
            raise RefreshError(
                f"the sources list networks of {sum(map(len, self.lengths.values()))} prefix "
                f"lengths, and {made:,} networks would have to be sealed in their place (at most "
                f"{MOST_PIECES:,}); find the source that lists networks of all lengths, and leave "
                "it out of [rules] sources, or its networks by [rules.select]"
            )
        if made:
            self._split_networks(kept)
        return kept

    def _split_networks(self, kept: Lengths) -> None:
        """Put networks of a kept length in the place of those of other lengths.

        All partitions are written anew: a piece lies where it would lie if it were listed,
        so that equal ones make one rule.
        """
        with naming(self._folder):
            for file in self._files:
                file.flush()
            before = [path.read_bytes() for path in self._paths]
            for number, file in enumerate(self._files):
                file.seek(0)
                file.truncate()
                self._digests[number] = hashlib.blake2b(digest_size=16)
                self._counts[number] = 0
        self.lengths = {}
        for data in before:
            for record in _records(data):
                self.take(portions(_split(record, kept)))

    def finish(self) -> list[Partition]:
        """Write out what is left; nothing can be added any more."""
        with naming(self._folder):
            for file in self._files:
                file.close()
        return [
            Partition(number, self._paths[number], self._counts[number], digest.digest())
            for number, digest in enumerate(self._digests)
        ]

    def remove(self) -> None:
        """Remove all of it."""
        for file in self._files:
            # What is left in memory finds no room on a full disk, and nobody needs it.
            with contextlib.suppress(OSError):
                file.close()
        shutil.rmtree(self._folder, ignore_errors=True)


def read_partition(path: Path) -> Iterator[Record]:
    """The records of one partition, in the order in which they were added."""
    with path.open("rb") as file:
        while length := file.read(_LENGTH_BYTES):
            yield _DECODER.decode(file.read(int.from_bytes(length)))


def _split(record: Record, kept: Lengths) -> Iterator[Record]:
    """A record, or those of the networks that its network consists of."""
    if record.indicator_class not in NETWORK_CLASSES:
        yield record
        return
    network = record.data.decode()
    version, length = length_of(network)
    longer = next_kept(length, kept[version])
    if longer == length:
        yield record
        return
    is_host = longer == FULL[version] and class_of(record.indicator_class).gated
    for piece in pieces(network, longer):
        host = ("ip", piece) if is_host else ("", "")
        yield msgspec.structs.replace(record, data=piece.encode(), host_kind=host[0], host=host[1])


def _add(counts: Counts, version: str, length: int, number: int) -> None:
    found = counts.setdefault(version, {})
    found[length] = found.get(length, 0) + number


def _records(content: bytes) -> Iterator[Record]:
    data = memoryview(content)
    place = 0
    decode = _DECODER.decode
    while place < len(data):
        start = place + _LENGTH_BYTES
        place = start + int.from_bytes(data[place:start])
        yield decode(data[start:place])
