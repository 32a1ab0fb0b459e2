"""The spool: records on their way from the sources to the rules, split into partitions.

Records that share derivations (names under one domain, everything about one
address) fall into one partition, so partitions can be sealed side by side without
deriving anything twice, and a set of any size needs the memory of one partition.
The files hold clear indicators: they stay with the publisher and are removed.
"""

from __future__ import annotations

import hashlib
import shutil
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from rules.indicators import Record

PARTITIONS: Final = 64
_BATCH: Final = 256
_LENGTH_BYTES: Final = 4

_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(list[Record])


class Part(NamedTuple):
    """A finished partition: its file, how many records it has, and a digest of them."""

    number: int
    path: Path
    records: int
    digest: bytes


class Spool:
    """Collects records on disk.

    Args:
        folder: an empty folder of its own, made here with mode 0700.
    """

    def __init__(self, folder: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700, parents=True)
        self._folder = folder
        self._paths = [folder / f"{number:02d}.records" for number in range(PARTITIONS)]
        self._files = [path.open("wb") for path in self._paths]
        self._batches: list[list[Record]] = [[] for _ in range(PARTITIONS)]
        self._digests = [hashlib.blake2b(digest_size=16) for _ in range(PARTITIONS)]
        self._counts = [0] * PARTITIONS

    def add(self, record: Record) -> None:
        """Keep one record."""
        number = zlib.crc32(record.base()) % PARTITIONS
        batch = self._batches[number]
        batch.append(record)
        if len(batch) >= _BATCH:
            self._flush(number)

    def finish(self) -> list[Part]:
        """Write out what is left; nothing can be added any more."""
        for number in range(PARTITIONS):
            self._flush(number)
            self._files[number].close()
        return [
            Part(number, self._paths[number], self._counts[number], digest.digest())
            for number, digest in enumerate(self._digests)
        ]

    def remove(self) -> None:
        """Remove all of it."""
        for file in self._files:
            file.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _flush(self, number: int) -> None:
        batch = self._batches[number]
        if not batch:
            return
        data = _ENCODER.encode(batch)
        self._files[number].write(len(data).to_bytes(_LENGTH_BYTES) + data)
        self._digests[number].update(data)
        self._counts[number] += len(batch)
        batch.clear()


def read_part(path: Path) -> Iterator[Record]:
    """The records of one partition, in the order in which they were added."""
    with path.open("rb") as file:
        while length := file.read(_LENGTH_BYTES):
            yield from _DECODER.decode(file.read(int.from_bytes(length)))
