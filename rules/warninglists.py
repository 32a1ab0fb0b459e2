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
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Final, Literal, NamedTuple

import msgspec

from rules.canonical import Refused, Value, canonical_name
from rules.sources.unreadable import Unreadable

Relation = Literal["is", "covers", "below"]

_NAME_CLASSES: Final = frozenset(("domain", "hostname", "url", "domain|ip"))
_MAX_LIST_BYTES: Final = 256 << 20
_FORMAT: Final = b"1"


class WarningListFile(msgspec.Struct):
    """A list.json of MISP's warninglists."""

    name: str
    type: Literal["string", "substring", "hostname", "cidr", "regex"]
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
        self._patterns = [
            (number, re.compile("|".join(patterns), re.IGNORECASE))
            for number, patterns in self._small.patterns
        ]
        self.names = frozenset(meta.name for meta in self._small.lists)

    def search(self, indicator_class: str, value: Value) -> list[Hit]:
        """All lists that say something about an indicator."""
        found = set(self._by_name(indicator_class, value))
        found |= {(number, "is") for number in self._by_address(value)}
        found |= {(number, "is") for number in self._by_text(value)}
        lists = self._small.lists
        return sorted(
            Hit(lists[number].name, lists[number].title, relation)
            for number, relation in found
            if indicator_class in lists[number].classes
        )

    def _by_name(self, indicator_class: str, value: Value) -> Iterator[tuple[int, Relation]]:
        host = value.host
        if host is None or host.kind != "name":
            return
        whole = not value.is_url or value.parts[0] == f"{host.value}/"
        for number, covers in self._combination(b"n" + host.value.encode()):
            if not covers:
                yield number, "is" if whole else "below"
            elif indicator_class == "domain":
                yield number, "covers"
        name = host.value
        while "." in (name := name.partition(".")[2]):
            for number, covers in self._combination(b"n" + name.encode()):
                if not covers and self._small.lists[number].below:
                    yield number, "below"

    def _by_address(self, value: Value) -> Iterable[int]:
        if value.kind != "ip":
            return ()
        text = value.host.value if value.host else value.parts[0]
        network = ipaddress.ip_network(text)
        low, high = int(network.network_address), int(network.broadcast_address)
        small = self._small
        if network.version == 4:
            return _overlap(small.starts4, small.lists4, small.networks, low, high)
        first, last = low.to_bytes(16), high.to_bytes(16)
        return _overlap(small.starts6, small.lists6, small.networks, first, last)

    def _by_text(self, value: Value) -> Iterator[int]:
        if value.kind in ("text", "digest"):
            for part in value.parts:
                for number, _ in self._combination(b"t" + part.lower().encode()):
                    yield number
        text = value.parts[0]
        for number, needles in self._small.substrings:
            if any(needle in text for needle in needles):
                yield number
        for number, pattern in self._patterns:
            if pattern.search(text):
                yield number

    def _combination(self, key: bytes) -> list[tuple[int, int]]:
        number = _hash(key)
        place = bisect_left(self._hashes, number)
        if place < len(self._hashes) and self._hashes[place] == number:
            return self._small.combinations[self._sets[place]]
        return []


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
    entries: list[int] = []
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
                names = bool(classes & _NAME_CLASSES)
                entries += (e for text in content.entries for e in _entries(text, number, names))
    combinations = _write_keys(keys, entries)
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


# An entry is hash << 16 | list << 1 | covers: sorting brings equal hashes together.
def _entries(text: str, number: int, names: bool) -> Iterator[int]:
    if not names:
        yield _hash(b"t" + text.strip().lower().encode()) << 16 | number << 1
        return
    try:
        name = canonical_name(text.strip().removeprefix("*."))
    except Refused:
        return
    yield _hash(b"n" + name.encode()) << 16 | number << 1
    while name := name.partition(".")[2]:
        yield _hash(b"n" + name.encode()) << 16 | number << 1 | 1


def _write_keys(path: Path, entries: list[int]) -> list[list[tuple[int, int]]]:
    entries.sort()
    hashes, sets = array("Q"), array("I")
    table: dict[tuple[int, ...], int] = {}
    for number, group in groupby(entries, lambda entry: entry >> 16):
        lists = tuple(dict.fromkeys(entry & 0xFFFF for entry in group))
        hashes.append(number)
        sets.append(table.setdefault(lists, len(table)))
    _write(path, hashes.tobytes() + sets.tobytes() or b"\0" * 12)
    return [[(entry >> 1, entry & 1) for entry in lists] for lists in table]


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
