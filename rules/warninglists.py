"""MISP's warninglists, compiled once into an index that a million lookups can afford.

The lists come from the package pymispwarninglists. Its own search is either exact
only or walks every entry of every list; a set of indicators needs both the names
that a rule equals and the listed names that a rule would cover.
"""

from __future__ import annotations

import hashlib
import importlib.util
import ipaddress
import mmap
import os
import re
import socket
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Final, Literal, NamedTuple

import msgspec

from rules.canonical import Refused, Value, canonical_name
from rules.sources.unreadable import Unreadable

Relation = Literal["is", "covers", "below"]

_NAME_CLASSES: Final = frozenset(("domain", "hostname", "url", "domain|ip"))
_MAX_LIST_BYTES: Final = 256 << 20
_FORMAT: Final = b"1"
_BUCKETS: Final = 64
_BUCKET_SHIFT: Final = 58
_FEW: Final = 64
_first = itemgetter(0)


class WarningListFile(msgspec.Struct):
    """A list.json of MISP's warninglists."""

    name: str
    type: Literal["string", "substring", "hostname", "cidr", "regex"]
    version: int | str
    entries: list[str] = msgspec.field(name="list")
    matching_attributes: tuple[str, ...] = ()


class Hit(NamedTuple):
    """A list that says something about a value.

    Attributes:
        name: the list's folder, which names it in the settings.
        title: the list's own name.
        relation: whether the value is on the list, is a parent of a listed name (a
            `domain` rule covers it), or lies below a listed name.
    """

    name: str
    title: str
    relation: Relation


class _Meta(msgspec.Struct, frozen=True):
    name: str
    title: str
    classes: frozenset[str]
    below: bool


class _Small(msgspec.Struct, frozen=True):
    """What does not lie in the mapped index."""

    lists: list[_Meta]
    # Every distinct combination of (list, 1 if it covers) that a key has.
    combinations: list[list[tuple[int, int]]]
    starts4: list[int]
    lists4: list[int]
    starts6: list[bytes]
    lists6: list[int]
    networks: list[list[int]]
    substrings: list[tuple[int, list[str]]]
    patterns: list[tuple[int, list[str]]]


def packaged_lists() -> Path | None:
    """Folder of the lists that came with the package pymispwarninglists, if it is installed."""
    spec = importlib.util.find_spec("pymispwarninglists")
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent / "data" / "misp-warninglists" / "lists"


class WarningLists:
    """The compiled lists.

    Args:
        lists: folder with one folder a list, each with a list.json.
        index: folder where the compiled form is kept.

    Raises:
        Unreadable: a list cannot be read.
    """

    def __init__(self, lists: Path, index: Path) -> None:
        paths = sorted(lists.glob("*/list.json"))
        if not paths:
            raise Unreadable(
                lists, None, "holds no warninglists", "correct [rules] warninglists_folder"
            )
        key = _fingerprint(paths)
        index.mkdir(mode=0o700, parents=True, exist_ok=True)
        keys, small = index / f"{key}.keys", index / f"{key}.lists"
        if not (keys.exists() and small.exists()):
            _compile(paths, keys, small)
            _remove_others(index, key)
        with keys.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        count = len(self._map) // 12
        self._hashes = memoryview(self._map)[: count * 8].cast("Q")
        self._sets = memoryview(self._map)[count * 8 :].cast("I")
        self._small = msgspec.msgpack.decode(small.read_bytes(), type=_Small)
        self._inside: dict[str, Inside] = {}
        self.names = frozenset(meta.name for meta in self._small.lists)

    def search(self, indicator_class: str, value: Value) -> list[Hit]:
        """All lists that say something about an indicator."""
        found: set[tuple[int, Relation]] = set()
        if value.host is not None and value.host.kind == "name":
            found.update(self._by_name(indicator_class, value, value.host.value))
        elif value.kind == "ip":
            found.update((number, "is") for number in self._by_address(value))
        found.update((number, "is") for number in self._by_text(indicator_class, value))
        if not found:
            return []
        lists = self._small.lists
        return sorted(
            Hit(lists[number].name, lists[number].title, relation)
            for number, relation in found
            if indicator_class in lists[number].classes
        )

    def _by_name(
        self, indicator_class: str, value: Value, name: str
    ) -> Iterator[tuple[int, Relation]]:
        whole = not value.is_url or value.parts[0] == f"{name}/"
        for number, covers in self._combination(b"n" + name.encode()):
            if not covers:
                yield number, "is" if whole else "below"
            elif indicator_class == "domain":
                yield number, "covers"
        while "." in (name := name.partition(".")[2]):
            for number, covers in self._combination(b"n" + name.encode()):
                if not covers and self._small.lists[number].below:
                    yield number, "below"

    def _by_address(self, value: Value) -> Iterable[int]:
        small = self._small
        text = value.host.value if value.host else value.parts[0]
        if "/" not in text and ":" not in text:
            low = int.from_bytes(socket.inet_aton(text))
            return _overlap(small.starts4, small.lists4, small.networks, low, low)
        network = ipaddress.ip_network(text)
        low, high = int(network.network_address), int(network.broadcast_address)
        if network.version == 4:
            return _overlap(small.starts4, small.lists4, small.networks, low, high)
        first, last = low.to_bytes(16), high.to_bytes(16)
        return _overlap(small.starts6, small.lists6, small.networks, first, last)

    def _by_text(self, indicator_class: str, value: Value) -> Iterator[int]:
        if value.kind in ("text", "digest"):
            for part in value.parts:
                for number, _ in self._combination(b"t" + part.lower().encode()):
                    yield number
        inside = self._inside.get(indicator_class)
        if inside is None:
            inside = self._inside[indicator_class] = self._inside_of(indicator_class)
        yield from inside.search(value.parts[0])

    def _inside_of(self, indicator_class: str) -> Inside:
        small = self._small

        def of_class(lists: list[tuple[int, list[str]]]) -> list[tuple[int, list[str]]]:
            return [
                (number, texts)
                for number, texts in lists
                if indicator_class in small.lists[number].classes
            ]

        return Inside(of_class(small.substrings), of_class(small.patterns))

    def _combination(self, key: bytes) -> list[tuple[int, int]]:
        number = _hash(key)
        place = bisect_left(self._hashes, number)
        if place < len(self._hashes) and self._hashes[place] == number:
            return self._small.combinations[self._sets[place]]
        return []


class Inside:
    """Lists that look inside a value: for a substring, or with a pattern.

    Args:
        substrings, patterns: those of each list, by its number.
    """

    def __init__(
        self, substrings: list[tuple[int, list[str]]], patterns: list[tuple[int, list[str]]]
    ) -> None:
        needles = [(text, number) for number, texts in substrings for text in texts if text]
        # One look at each place of the value, however many thousand needles there are.
        self._size = min((len(text) for text, _ in needles), default=0)
        self._needles: dict[str, list[tuple[str, int]]] = {}
        for text, number in needles:
            self._needles.setdefault(text[: self._size], []).append((text, number))
        # A few are seen faster by one pattern, and there is hardly ever one to be seen.
        few = 0 < len(needles) <= _FEW
        self._any = re.compile("|".join(re.escape(n) for n, _ in needles)) if few else None
        self._patterns = [
            (number, re.compile("|".join(texts), re.IGNORECASE)) for number, texts in patterns
        ]

    def search(self, text: str) -> Iterator[int]:
        """The numbers of the lists that find something."""
        if self._any is None or self._any.search(text):
            yield from self._needles_in(text)
        for number, pattern in self._patterns:
            if pattern.search(text):
                yield number

    def _needles_in(self, text: str) -> Iterator[int]:
        size, needles = self._size, self._needles
        for start in range(len(text) - size + 1) if needles else ():
            for needle, number in needles.get(text[start : start + size], ()):
                if text.startswith(needle, start):
                    yield number


def _overlap(
    starts: list[int] | list[bytes],
    sets: list[int],
    networks: list[list[int]],
    low: int | bytes,
    high: int | bytes,
) -> set[int]:
    first = max(0, bisect_right(starts, low) - 1)
    last = bisect_right(starts, high)
    found: set[int] = set()
    for place in range(first, last):
        found.update(networks[sets[place]])
    return found


def _hash(key: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest())


def _fingerprint(paths: Iterable[Path]) -> str:
    digest = hashlib.sha256(_FORMAT)
    for path in paths:
        status = path.stat()
        digest.update(f"{path}\0{status.st_size}\0{status.st_mtime_ns}\0".encode())
    return digest.hexdigest()[:32]


def _remove_others(index: Path, key: str) -> None:
    for path in index.iterdir():
        if not path.name.startswith(key):
            path.unlink(missing_ok=True)


def _compile(paths: list[Path], keys: Path, small: Path) -> None:
    metas: list[_Meta] = []
    names = _Keys()
    networks: dict[int, list[tuple[int, int, int]]] = {4: [], 6: []}
    substrings: list[tuple[int, list[str]]] = []
    patterns: list[tuple[int, list[str]]] = []
    for number, path in enumerate(paths):
        content = _read(path)
        classes = frozenset(content.matching_attributes)
        metas.append(_Meta(path.parent.name, content.name, classes, content.type == "hostname"))
        match content.type:
            case "cidr":
                _add_networks(networks, number, content.entries)
            case "substring":
                substrings.append((number, [text.lower() for text in content.entries]))
            case "regex":
                patterns.append((number, list(_patterns(content.entries))))
            case _:
                add = names.add_names if classes & _NAME_CLASSES else names.add_texts
                add(number, content.entries)
    combinations = names.write(keys)
    table: dict[tuple[int, ...], int] = {}
    starts4, lists4 = _segments(networks[4], table)
    starts6, lists6 = _segments(networks[6], table)
    data = _Small(
        metas,
        combinations,
        starts4,
        lists4,
        [start.to_bytes(16) for start in starts6],
        lists6,
        [list(numbers) for numbers in table],
        substrings,
        patterns,
    )
    _write(small, msgspec.msgpack.encode(data))


def _read(path: Path) -> WarningListFile:
    try:
        with path.open("rb") as file:
            return msgspec.json.decode(file.read(_MAX_LIST_BYTES), type=WarningListFile)
    except (OSError, msgspec.MsgspecError) as error:
        raise Unreadable(
            path, None, f"is not a warninglist ({error})", "install the lists again"
        ) from None


class _Keys:
    """Hashes of entries and the lists they stand for, with little memory for millions."""

    def __init__(self) -> None:
        # By the hash's first bits: what is sorted at a time stays small.
        self._hashes = [array("Q") for _ in range(_BUCKETS)]
        self._marks = [array("H") for _ in range(_BUCKETS)]

    def add_texts(self, number: int, texts: Iterable[str]) -> None:
        """A list's entries that are no names."""
        for text in texts:
            self._add(b"t" + text.strip().lower().encode(), number << 1)

    def add_names(self, number: int, texts: Iterable[str]) -> None:
        """A list's names, and all names above them as covering."""
        above: set[str] = set()
        for text in texts:
            try:
                name = canonical_name(text.strip().removeprefix("*."))
            except Refused:
                continue
            self._add(b"n" + name.encode(), number << 1)
            # What is above a name that was seen was seen, too.
            while (name := name.partition(".")[2]) and name not in above:
                above.add(name)
        for name in above:
            self._add(b"n" + name.encode(), number << 1 | 1)

    def write(self, path: Path) -> list[list[tuple[int, int]]]:
        """Write the sorted hashes and the number of each one's combination of lists."""
        hashes, sets = array("Q"), array("I")
        table: dict[tuple[int, ...], int] = {}
        for bucket, marks in zip(self._hashes, self._marks, strict=True):
            entries = sorted(zip(bucket, marks, strict=True))
            for key, group in groupby(entries, _first):
                lists = tuple(dict.fromkeys(mark for _, mark in group))
                hashes.append(key)
                sets.append(table.setdefault(lists, len(table)))
        _write(path, hashes.tobytes() + sets.tobytes() or b"\0" * 12)
        return [[(mark >> 1, mark & 1) for mark in lists] for lists in table]

    def _add(self, key: bytes, mark: int) -> None:
        number = _hash(key)
        self._hashes[number >> _BUCKET_SHIFT].append(number)
        self._marks[number >> _BUCKET_SHIFT].append(mark)


def _add_networks(
    networks: dict[int, list[tuple[int, int, int]]], number: int, texts: Iterable[str]
) -> None:
    for text in texts:
        try:
            network = ipaddress.ip_network(text.strip(), strict=False)
        except ValueError:
            continue
        low, high = int(network.network_address), int(network.broadcast_address)
        networks[network.version].append((low, high, number))


def _segments(
    networks: list[tuple[int, int, int]], table: dict[tuple[int, ...], int]
) -> tuple[list[int], list[int]]:
    """Cut the address space where any network begins or ends."""
    events = sorted(
        event
        for low, high, number in networks
        for event in ((low, 1, number), (high + 1, 0, number))
    )
    open_lists: dict[int, int] = {}
    starts, sets = [0], [table.setdefault((), len(table))]
    for place, group in groupby(events, lambda event: event[0]):
        for _, begins, number in group:
            open_lists[number] = open_lists.get(number, 0) + (1 if begins else -1)
        now = tuple(sorted(number for number, count in open_lists.items() if count))
        starts.append(place)
        sets.append(table.setdefault(now, len(table)))
    # An address above 128 bits does not exist; its segment would not fit.
    while starts[-1] >= 1 << 128:
        starts.pop()
        sets.pop()
    return starts, sets


def _patterns(texts: Iterable[str]) -> Iterator[str]:
    """PHP writes /pattern/flags."""
    for text in texts:
        body = text[1:].rpartition("/")[0] if text.startswith("/") else text
        try:
            re.compile(body)
        except re.error:
            continue
        yield f"(?:{body})"


def _write(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(data)
    temporary.replace(path)
