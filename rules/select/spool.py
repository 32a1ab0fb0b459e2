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
from inkgate.rules.select.indicators import Record

PARTITIONS: Final = 64
_LENGTH_BYTES: Final = 4

_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Record)


class Portion(msgspec.Struct, array_like=True):
    """Some records of one partition: their number, each after its length, and their classes."""

    records: int
    data: bytes
    classes: set[str]


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
    encode = _ENCODER.encode
    for record in records:
        number = zlib.crc32(record.base()) % PARTITIONS
        if number not in parts:
            parts[number] = bytearray()
            classes[number] = set()
        data = encode(record)
        parts[number] += len(data).to_bytes(_LENGTH_BYTES) + data
        counts[number] = counts.get(number, 0) + 1
        classes[number].add(record.indicator_class)
    return {
        number: Portion(counts[number], bytes(data), classes[number])
        for number, data in parts.items()
    }


class Spool:
    """Collects records on disk.

    Args:
        folder: an empty folder of its own, made here with mode 0700.

    Attributes:
        classes: those of all records so far.
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

    @property
    def is_empty(self) -> bool:
        """Whether there is no record."""
        return not any(self._counts)

    def take(self, parts: Mapping[int, Portion]) -> None:
        """Keep records."""
        with naming(self._folder):
            for number, portion in parts.items():
                self._files[number].write(portion.data)
                self._digests[number].update(portion.data)
                self._counts[number] += portion.records
                self.classes |= portion.classes

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
    data = memoryview(path.read_bytes())
    place = 0
    decode = _DECODER.decode
    while place < len(data):
        start = place + _LENGTH_BYTES
        place = start + int.from_bytes(data[place:start])
        yield decode(data[start:place])
