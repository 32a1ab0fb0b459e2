"""The last good reading of every source.

If a source cannot be read tonight, what it listed yesterday stays blocked. The copies hold
clear indicators and stay with the publisher.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Final

import msgspec

from inkgate.config.errors import Unreadable
from inkgate.config.modes import make_folder, sync_folder
from inkgate.config.whole_file import write_whole, writing_whole
from inkgate.rules.sources.attribute import Attribute

Reader = Callable[[Path], Iterator[Attribute]]

_BATCH: Final = 1000
_LENGTH_BYTES: Final = 4
_COPY_BYTES: Final = 1 << 20
_MODE: Final = 0o600
_EMPTY: Final = "if that is right, remove it, or use --allow-empty once"
_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(list[Attribute])


class LastGood:
    """Reads sources, falling back to their last good reading.

    Args:
        folder: where the copies lie (mode 0700).
        may_be_empty: whether a file may lose all of its attributes at once.
    """

    def __init__(self, folder: Path, *, may_be_empty: bool = False) -> None:
        self._may_be_empty = may_be_empty
        self._folder = folder
        self._used: set[str] = set()
        make_folder(folder, 0o700)

    def read(self, path: Path, reader: Reader, faults: list[Unreadable]) -> Iterator[Attribute]:
        """A file's attributes; from its copy, and with a fault noted, if it cannot be read.

        A file that had attributes and has none any more counts as one that cannot be
        read, since an export that failed often leaves an empty file.

        `reader` gives either all attributes of a file or raises before the first.
        """
        copy = self._named(os.fsencode(path.resolve()), "".join(path.suffixes[-2:]))
        try:
            attributes = self._checked(path, copy, reader)
        except Unreadable as fault:
            faults.append(fault)
            if copy.exists():
                yield from _renamed(reader(copy), copy, path)
            return
        yield from attributes
        _keep(path, copy)

    def remembered(
        self, path: Path, reader: Reader, faults: list[Unreadable]
    ) -> Iterator[Attribute]:
        """What `read` gave last, without a look at the file."""
        copy = self._named(os.fsencode(path.resolve()), "".join(path.suffixes[-2:]))
        try:
            if copy.exists():
                yield from _renamed(reader(copy), copy, path)
        except Unreadable as fault:
            faults.append(fault)

    def last_snapshot(self, name: str) -> Iterator[Attribute]:
        """What `snapshot` gave last."""
        copy = self._named(name.encode(), ".snapshot")
        if copy.exists():
            yield from _read_snapshot(copy)

    def _checked(self, path: Path, copy: Path, reader: Reader) -> Iterator[Attribute]:
        attributes = _started(reader(path))
        if attributes is None and not self._may_be_empty and _has_attributes(copy, reader):
            raise Unreadable(path, None, "is empty and was not before", _EMPTY)
        return attributes or iter(())

    def snapshot(
        self, name: str, attributes: Iterator[Attribute], faults: list[Unreadable]
    ) -> Iterator[Attribute]:
        """What a source without files gives, or gave last if it breaks off on the way."""
        copy = self._named(name.encode(), ".snapshot")
        try:
            write_whole(copy, _snapshot(attributes), _MODE)
        except Unreadable as fault:
            faults.append(fault)
        yield from self.last_snapshot(name)

    def flush(self) -> None:
        """Make the copies survive a power cut."""
        sync_folder(self._folder)

    def forget_others(self) -> None:
        """Remove copies of what was not read: somebody has taken it out of the sources."""
        for copy in self._folder.iterdir():
            if copy.name not in self._used:
                with contextlib.suppress(OSError):
                    copy.unlink()

    def _named(self, name: bytes, suffix: str) -> Path:
        copy = self._folder / (hashlib.sha256(name).hexdigest()[:32] + suffix)
        self._used.add(copy.name)
        return copy


def _started(attributes: Iterator[Attribute]) -> Iterator[Attribute] | None:
    """The same attributes, or None if there are none. Raises what the first one raises."""
    first = list(islice(attributes, 1))
    return chain(first, attributes) if first else None


def _has_attributes(copy: Path, reader: Reader) -> bool:
    try:
        return copy.exists() and _started(reader(copy)) is not None
    except Unreadable:
        return False


def _renamed(attributes: Iterator[Attribute], copy: Path, path: Path) -> Iterator[Attribute]:
    """Attributes with the file's own name in `source` and `place`, not that of its copy."""
    for attribute in attributes:
        if attribute.source == copy.name:
            place = attribute.place.replace(copy.name, path.name, 1)
            attribute = msgspec.structs.replace(attribute, source=path.name, place=place)  # noqa: PLW2901
        yield attribute


def _keep(path: Path, copy: Path) -> None:
    now = path.stat()
    with contextlib.suppress(FileNotFoundError):
        then = copy.stat()
        if (then.st_size, then.st_mtime_ns) == (now.st_size, now.st_mtime_ns):
            return
    with path.open("rb") as source, writing_whole(copy, _MODE, flush_folder=False) as file:
        shutil.copyfileobj(source, file, _COPY_BYTES)
        file.flush()
        # With the time of the file, by which the next refresh sees that it is the same.
        os.utime(file.fileno(), ns=(now.st_atime_ns, now.st_mtime_ns))


def _snapshot(attributes: Iterable[Attribute]) -> Iterator[bytes]:
    rest = iter(attributes)
    while batch := list(islice(rest, _BATCH)):
        data = _ENCODER.encode(batch)
        yield len(data).to_bytes(_LENGTH_BYTES) + data


def _read_snapshot(path: Path) -> Iterator[Attribute]:
    with path.open("rb") as file:
        while length := file.read(_LENGTH_BYTES):
            yield from _DECODER.decode(file.read(int.from_bytes(length)))
