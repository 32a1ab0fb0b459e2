"""The last good reading of every source.

If a source cannot be read tonight, what it listed yesterday stays blocked. The copies hold
clear indicators and stay with the publisher.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

import msgspec

from inkgate.config.errors import Unreadable
from inkgate.config.modes import make_folder, sync_folder
from inkgate.config.whole_file import write_whole, writing_whole
from inkgate.rules.sources.attribute import Attribute
from inkgate.rules.sources.readers.source_file import Looks, SourceFile

T = TypeVar("T")
Reader = Callable[[SourceFile], Iterator[Attribute]]
Refusal = Callable[[Attribute], str]
"""Why an attribute of a list cannot be sealed, as a fixed phrase; empty if it can."""

_BATCH: Final = 1000
# So many attributes of a file are kept while the rest is looked at.
_KEPT: Final = 100_000
_REASONS: Final = 2
_LENGTH_BYTES: Final = 4
_MODE: Final = 0o600
# The names of all files that were copied, and how they looked.
_LOOKS: Final = "looks"
# So long after its last change (nanoseconds) another one shows in a file's times.
_SETTLED: Final = 2_000_000_000
_MAX_SUFFIX: Final = 32
_UUID_LENGTH: Final = 36
_EMPTY: Final = "if that is right, remove it, or use --allow-empty once"
_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(list[Attribute])
_LOOKS_DECODER = msgspec.msgpack.Decoder(dict[str, Looks])
_NAMES_DECODER = msgspec.msgpack.Decoder(list[bytes])


def _no_refusal(_: Attribute) -> str:
    return ""


class LastGood:
    """Reads sources, falling back to their last good reading.

    Args:
        folder: where the copies lie (mode 0700).
        may_be_empty: whether a file may lose all of its attributes at once.
        refused_share: of a file's lines, how many may be refused before it counts as one
            that cannot be read.
        refusal: what the reader of a list did not refuse itself.
        full: whether files that look as they did are read again all the same.
    """

    def __init__(
        self,
        folder: Path,
        *,
        may_be_empty: bool = False,
        refused_share: float = 1,
        refusal: Refusal = _no_refusal,
        full: bool = False,
    ) -> None:
        self._may_be_empty = may_be_empty
        self._refused_share = refused_share
        self._refusal = refusal
        self._folder = folder
        self._used = {_LOOKS}
        make_folder(folder, 0o700)
        self._looks: dict[str, Looks] = {}
        if not full:
            self._looks = _decoded(folder / _LOOKS, _LOOKS_DECODER, {})

    def read(self, path: Path, reader: Reader, faults: list[Unreadable]) -> Iterator[Attribute]:
        """A file's attributes; from its copy, and with a fault noted, if it cannot be read.

        A file that had attributes and has none any more counts as one that cannot be
        read, since an export that failed often leaves an empty file.

        So does one of which too many lines are refused: it is most likely of a format that
        nobody recognised, or an error message. `reader` gives either all attributes of a
        file or raises before the first.
        """
        copy = self._copy_of(path)
        has_given = False
        try:
            # What is checked, what is given and what is kept is one and the same, whoever
            # writes to the file meanwhile.
            with self._taken(path, copy) as file:
                checked = self._checked(file, copy, reader)
                has_given = True
                yield from _placed(checked.attributes, path)
                if checked.fault is not None:
                    raise checked.fault
        except Unreadable as fault:
            faults.append(fault)
            if not has_given:
                yield from self.remembered(path, reader, faults)

    def remembered(
        self, path: Path, reader: Reader, faults: list[Unreadable]
    ) -> Iterator[Attribute]:
        """What `read` gave last, without a look at the file."""
        copy = self._copy_of(path)
        try:
            if copy.exists():
                yield from _placed(reader(SourceFile(copy, path)), path)
        except Unreadable as fault:
            faults.append(fault)

    def last_snapshot(self, name: str) -> Iterator[Attribute]:
        """What `snapshot` gave last."""
        copy = self._named(name.encode(), ".snapshot")
        if copy.exists():
            yield from _read_snapshot(copy)

    def _checked(self, file: SourceFile, copy: Path, reader: Reader) -> _Checked:
        first = list(islice(reader(file), _KEPT))
        counts = _Counts(self._refusal)
        counts.take(first)
        is_whole = len(first) < _KEPT
        if not is_whole:
            # Read twice: a file that is refused must not have given anything.
            counts.take(islice(reader(file), _KEPT, None))
        # Of a list many such lines mean that it is read as something else than it is. An odd
        # object says nothing of the others.
        if counts.is_list and counts.refused > counts.lines * self._refused_share:
            fault = file.unreadable(
                f"{counts.refused} of {counts.lines} lines cannot be used ({counts.reasons()})",
                'correct it, or its type or format ([[rules.sources]] type = "list")',
            )
            if _has_attributes(copy, file.given, reader):
                raise fault
            # Better what can be used of it than nothing; but it is no good reading.
            return _Checked(iter(first) if is_whole else reader(file), fault)
        if (
            not counts.listed
            and not self._may_be_empty
            and _has_attributes(copy, file.given, reader)
        ):
            raise file.unreadable("is empty and was not before", _EMPTY)
        return _Checked(iter(first) if is_whole else reader(file))

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

    def listed(self, folder: Path) -> list[Path]:
        """The files of a folder that were noted last."""
        names: list[bytes] = _decoded(self._list_of(folder), _NAMES_DECODER, [])
        return [Path(os.fsdecode(name)) for name in names]

    def note_listed(self, folder: Path, files: Iterable[Path]) -> None:
        """Note the files of a folder that count now."""
        names = [os.fsencode(path) for path in files]
        write_whole(self._list_of(folder), _ENCODER.encode(names), _MODE)

    def flush(self) -> None:
        """Make the copies survive a power cut, and note of which files they are."""
        sync_folder(self._folder)
        looks = {name: found for name, found in self._looks.items() if name in self._used}
        write_whole(self._folder / _LOOKS, _ENCODER.encode(looks), _MODE)

    def forget_others(self) -> None:
        """Remove copies of what was not read: somebody has taken it out of the sources."""
        for copy in self._folder.iterdir():
            if copy.name not in self._used:
                with contextlib.suppress(OSError):
                    copy.unlink()

    @contextlib.contextmanager
    def _taken(self, path: Path, copy: Path) -> Iterator[SourceFile]:
        """A file as it is now, which becomes the copy if the `with` ends without an exception.

        Raises:
            Unreadable: it cannot be read, or somebody writes to it.
        """
        source = SourceFile(path)
        if self._looks.get(copy.name) == source.looks and _size_of(copy) == source.looks.size:
            # It is the one of the last reading, and whole.
            yield SourceFile(copy, path)
            return
        began = time.time_ns()
        with writing_whole(copy, _MODE, flush_folder=False) as file:
            source.copy_to(file)
            file.flush()
            yield SourceFile(Path(file.name), path)
        if began - source.looks.ctime > _SETTLED:
            self._looks[copy.name] = source.looks
        else:
            # Written again at once, it could look the same.
            self._looks.pop(copy.name, None)

    def _copy_of(self, path: Path) -> Path:
        # By the path as it is given: where a mount is lost, links in it lead nowhere.
        suffix = "".join(path.suffixes[-2:])
        name = os.fsencode(path.absolute())
        return self._named(name, suffix if len(os.fsencode(suffix)) <= _MAX_SUFFIX else "")

    def _list_of(self, folder: Path) -> Path:
        return self._named(os.fsencode(folder.absolute()) + b"/", ".files")

    def _named(self, name: bytes, suffix: str) -> Path:
        copy = self._folder / (hashlib.sha256(name).hexdigest()[:32] + suffix)
        self._used.add(copy.name)
        return copy


class _Checked(NamedTuple):
    """A file's attributes, and what is wrong with it although they count."""

    attributes: Iterator[Attribute]
    fault: Unreadable | None = None


class _Counts:
    """What a reader gave.

    Args:
        refusal: what it did not refuse itself.

    Attributes:
        is_list: whether these are lines.
        lines: how many say something.
        refused: how many of them cannot be used.
    """

    def __init__(self, refusal: Refusal) -> None:
        self.is_list = False
        self.lines = 0
        self.refused = 0
        self._refusal = refusal
        self._is_refused = False
        self._reasons: Counter[str] = Counter()

    @property
    def listed(self) -> int:
        """How many lines list something."""
        return self.lines - self.refused

    def take(self, attributes: Iterable[Attribute]) -> None:
        """Count lines; one is refused if nothing of it can be used."""
        for attribute in attributes:
            # What says nothing is not counted: a page of remarks may stand over one line.
            if attribute.skipped or (attribute.is_more and not self._is_refused):
                continue
            self.is_list = self.is_list or bool(attribute.source)
            reason = attribute.refused or (self._refusal(attribute) if attribute.source else "")
            if not attribute.is_more:
                self.lines += 1
                self.refused += bool(reason)
            elif not reason:
                self.refused -= 1
            self._is_refused = bool(reason)
            if reason:
                self._reasons[reason] += 1

    def reasons(self) -> str:
        """The most frequent reasons, each once."""
        return "; ".join(reason for reason, _ in self._reasons.most_common(_REASONS))


def _size_of(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None


def _has_attributes(copy: Path, path: Path, reader: Reader) -> bool:
    try:
        return copy.exists() and any(
            not (a.skipped or a.refused) for a in reader(SourceFile(copy, path))
        )
    except Unreadable:
        return False


def _placed(attributes: Iterable[Attribute], path: Path) -> Iterator[Attribute]:
    """Attributes with the whole path in their places: many folders have a file of one name."""
    folder = os.fsencode(path.parent).decode("utf-8", "replace")
    name = os.fsencode(path).decode("utf-8", "replace")
    for attribute in attributes:
        if attribute.place:
            yield msgspec.structs.replace(attribute, place=f"{folder}/{attribute.place}")
        elif len(attribute.uuid) != _UUID_LENGTH:
            yield msgspec.structs.replace(attribute, place=name)
        else:
            yield attribute


def _decoded(path: Path, decoder: msgspec.msgpack.Decoder[T], otherwise: T) -> T:
    """What a file of ours holds; something else if there is none, or it is damaged."""
    try:
        return decoder.decode(path.read_bytes())
    except (OSError, msgspec.MsgspecError):
        return otherwise


def _snapshot(attributes: Iterable[Attribute]) -> Iterator[bytes]:
    rest = iter(attributes)
    while batch := list(islice(rest, _BATCH)):
        data = _ENCODER.encode(batch)
        yield len(data).to_bytes(_LENGTH_BYTES) + data


def _read_snapshot(path: Path) -> Iterator[Attribute]:
    with path.open("rb") as file:
        while length := file.read(_LENGTH_BYTES):
            yield from _DECODER.decode(file.read(int.from_bytes(length)))
