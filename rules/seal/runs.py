"""Runs: the sealed rows of one partition, sorted, as the publisher keeps them between refreshes.

A pack is a merge of all runs. A partition whose records did not change keeps its
run as it is, so a refresh costs what has changed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import msgspec

from inkgate.config.whole_file import write_whole
from inkgate.rules.crypto.sealing import NONCE_BYTES, TAG_BYTES

Row = tuple[bytes, bytes, bytes]

_HEAD: Final = TAG_BYTES + NONCE_BYTES + 4
_NUMBER_BYTES: Final = 8


class RunHeader(msgspec.Struct, frozen=True):
    """What a run holds.

    Attributes:
        digest: that of the records it was made from.
        body_size, body_digest: those of all that follows the header.
        rules: rows by class.
        offsets: where a class's rows begin, in bytes after the header.
        lengths: by class, how many ciphertexts have which length.
        numbers: by gate level, the 64-bit numbers of its values, 8 bytes each.
        prefixes: prefix lengths that occur, by IP version.
    """

    digest: bytes
    body_size: int
    body_digest: bytes
    rules: dict[str, int]
    offsets: dict[str, int]
    lengths: dict[str, dict[int, int]]
    numbers: dict[str, bytes]
    prefixes: dict[str, list[int]]


_DECODER = msgspec.msgpack.Decoder(RunHeader)


class Run:
    """A run that is read.

    Raises:
        OSError: there is none.
        ValueError: it was not written to its end.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8))
            if not 0 < size <= path.stat().st_size:
                raise ValueError("not a run")
            try:
                self.header = _DECODER.decode(file.read(size))
            except msgspec.MsgspecError:
                raise ValueError("not a run") from None
        self._start = 8 + size
        if path.stat().st_size != self._start + self.header.body_size:
            raise ValueError("not a whole run")

    def is_sound(self) -> bool:
        """Whether its rows are those that were written."""
        with self._path.open("rb") as file:
            file.seek(self._start)
            return hashlib.file_digest(file, _digest).digest() == self.header.body_digest

    def rows(self, indicator_class: str) -> Iterator[Row]:
        """The rows of one class, sorted by tag."""
        count = self.header.rules.get(indicator_class, 0)
        if not count:
            return
        with self._path.open("rb") as file:
            file.seek(self._start + self.header.offsets[indicator_class])
            read = file.read
            for _ in range(count):
                head = read(_HEAD)
                yield head[:32], head[32:44], read(int.from_bytes(head[44:]))

    def numbers(self, level: str) -> Iterator[int]:
        """The numbers of a gate's level."""
        data = self.header.numbers.get(level, b"")
        for start in range(0, len(data), _NUMBER_BYTES):
            yield int.from_bytes(data[start : start + _NUMBER_BYTES])

    def number_count(self, level: str) -> int:
        """How many different values a gate's level has here."""
        return len(self.header.numbers.get(level, b"")) // _NUMBER_BYTES


def write_run(
    path: Path,
    digest: bytes,
    rows: dict[str, list[Row]],
    numbers: dict[str, Iterable[int]],
    prefixes: dict[str, list[int]],
) -> None:
    """Sort and write a run, whole."""
    offsets: dict[str, int] = {}
    lengths: dict[str, dict[int, int]] = {}
    body = bytearray()
    for name in sorted(rows):
        offsets[name] = len(body)
        sizes = lengths.setdefault(name, {})
        for tag, nonce, ciphertext in sorted(rows[name]):
            size = len(ciphertext)
            body += tag + nonce + size.to_bytes(4) + ciphertext
            sizes[size] = sizes.get(size, 0) + 1
    header = msgspec.msgpack.encode(
        RunHeader(
            digest,
            len(body),
            _digest(body).digest(),
            {name: len(found) for name, found in rows.items()},
            offsets,
            lengths,
            {k: b"".join(n.to_bytes(_NUMBER_BYTES) for n in v) for k, v in numbers.items()},
            prefixes,
        )
    )
    write_whole(path, (len(header).to_bytes(8), header, body), 0o600)


def open_run(path: Path) -> Run | None:
    """A run; None if there is none or it is damaged, so that its partition is sealed again."""
    try:
        run = Run(path)
        return run if run.is_sound() else None
    except (OSError, ValueError):
        return None


def _digest(data: bytes | bytearray = b"") -> hashlib.blake2b:
    return hashlib.blake2b(data, digest_size=16)
