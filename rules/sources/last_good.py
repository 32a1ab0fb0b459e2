"""The last good reading of every source.

A source that is cut off tonight must not unblock what it listed yesterday. The
copies hold clear indicators and stay with the publisher.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Final

import msgspec

from rules.sources.attribute import Attribute
from rules.sources.unreadable import Unreadable

Reader = Callable[[Path], Iterator[Attribute]]

_BATCH: Final = 1000
_LENGTH_BYTES: Final = 4
_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(list[Attribute])


class LastGood:
    """Reads sources, falling back to their last good reading.

    Args:
        folder: where the copies lie (mode 0700).
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._used: set[str] = set()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def read(self, path: Path, reader: Reader, faults: list[Unreadable]) -> Iterator[Attribute]:
        """A file's attributes; from its copy, and with a fault noted, if it cannot be read.

        `reader` gives either all attributes of a file or raises before the first.
        """
        copy = self._named(os.fsencode(path.resolve()), "".join(path.suffixes[-2:]))
        attributes = iter(())  # type: Iterator[Attribute]
        try:
            attributes = _started(reader(path))
        except Unreadable as fault:
            faults.append(fault)
            if copy.exists():
                yield from reader(copy)
            return
        yield from attributes
        _keep(path, copy)

    def snapshot(
        self, name: str, attributes: Iterator[Attribute], faults: list[Unreadable]
    ) -> Iterator[Attribute]:
        """What a source without files gives, or gave last if it breaks off on the way."""
        copy = self._named(name.encode(), ".snapshot")
        temporary = copy.with_name(f".{copy.name}")
        try:
            _write_snapshot(temporary, attributes)
        except Unreadable as fault:
            faults.append(fault)
            temporary.unlink(missing_ok=True)
        else:
            temporary.replace(copy)
        if copy.exists():
            yield from _read_snapshot(copy)

    def forget_others(self) -> None:
        """Remove copies of what was not read since: it was taken away on purpose."""
        for copy in self._folder.iterdir():
            if copy.name not in self._used:
                with contextlib.suppress(OSError):
                    copy.unlink()

    def _named(self, name: bytes, suffix: str) -> Path:
        copy = self._folder / (hashlib.sha256(name).hexdigest()[:32] + suffix)
        self._used.add(copy.name)
        return copy


def _started(attributes: Iterator[Attribute]) -> Iterator[Attribute]:
    """The same attributes, after the first was asked for: then its faults are known."""
    first = list(islice(attributes, 1))

    def rest() -> Iterator[Attribute]:
        yield from first
        yield from attributes

    return rest()


def _keep(path: Path, copy: Path) -> None:
    now = path.stat()
    with contextlib.suppress(FileNotFoundError):
        then = copy.stat()
        if (then.st_size, then.st_mtime_ns) == (now.st_size, now.st_mtime_ns):
            return
    temporary = copy.with_name(f".{copy.name}")
    shutil.copy2(path, temporary)
    temporary.chmod(0o600)
    temporary.replace(copy)


def _write_snapshot(path: Path, attributes: Iterable[Attribute]) -> None:
    rest = iter(attributes)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(fd, "wb") as file:
        while batch := list(islice(rest, _BATCH)):
            data = _ENCODER.encode(batch)
            file.write(len(data).to_bytes(_LENGTH_BYTES) + data)
        file.flush()
        os.fsync(file.fileno())


def _read_snapshot(path: Path) -> Iterator[Attribute]:
    with path.open("rb") as file:
        while length := file.read(_LENGTH_BYTES):
            yield from _DECODER.decode(file.read(int.from_bytes(length)))
