"""Warninglists as an index: what compiles them, and what the index holds.

Two files: the hashes of all names and texts, sorted, with the number of the
combination of lists that each stands in (mapped to memory); and all the rest.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
from array import array
from collections.abc import Iterable, Iterator
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Final, Literal

import msgspec

from inkgate.config.errors import Unreadable
from inkgate.config.regular_files import open_regular
from inkgate.config.whole_file import write_whole
from inkgate.rules.canonical import Refused, canonical_name
from inkgate.rules.canonical.classes import CLASSES

# A list for one of these holds names, to be compared with an indicator's host.
_NAME_CLASSES: Final = frozenset(
    name for name, known in CLASSES.items() if known.forms[0].kind in ("name", "url")
)
_MAX_LIST_BYTES: Final = 256 << 20
_FORMAT: Final = b"3"
_MODE: Final = 0o600
_BUCKETS: Final = 64
_BUCKET_SHIFT: Final = 58
_first = itemgetter(0)


class WarningListFile(msgspec.Struct):
    """A list.json of MISP's warninglists."""

    name: str
    type: Literal["string", "substring", "hostname", "cidr", "regex"]
    version: int | str
    entries: list[str] = msgspec.field(name="list")
    matching_attributes: tuple[str, ...] = ()


class ListMeta(msgspec.Struct, frozen=True):
    """A list without its entries; `below` if it stands for what lies below them, too."""

    name: str
    title: str
    classes: frozenset[str]
    below: bool


class Index(msgspec.Struct, frozen=True):
    """What does not lie in the mapped index."""

    lists: list[ListMeta]
    keys_size: int
    # Every distinct combination of (list, 1 if it covers) that a key has.
    combinations: list[list[tuple[int, int]]]
    starts4: list[int]
    lists4: list[int]
    starts6: list[bytes]
    lists6: list[int]
    networks: list[list[int]]
    substrings: list[tuple[int, list[str]]]
    patterns: list[tuple[int, list[str]]]


def hash_key(key: bytes) -> int:
    """The 64 bits under which a name or text lies in the index."""
    return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest())


def fingerprint(paths: Iterable[Path]) -> str:
    """What tells these lists, as they are now, from others."""
    digest = hashlib.sha256(_FORMAT)
    for path in paths:
        status = path.stat()
        digest.update(f"{path}\0{status.st_size}\0{status.st_mtime_ns}\0".encode())
    return digest.hexdigest()[:32]


def remove_others(index: Path, key: str) -> None:
    """Remove what was compiled from other lists."""
    for path in index.iterdir():
        if not path.name.startswith(key):
            path.unlink(missing_ok=True)


def load_index(keys: Path, small: Path) -> Index | None:
    """A compiled index, or None if there is none or it is not whole."""
    try:
        index = msgspec.msgpack.decode(small.read_bytes(), type=Index)
        return index if keys.stat().st_size == index.keys_size else None
    except (OSError, msgspec.MsgspecError):
        return None


def compile_lists(paths: list[Path], keys: Path, small: Path) -> None:
    """Compile lists into their mapped keys and all the rest.

    Raises:
        Unreadable: one of them cannot be read.
    """
    metas: list[ListMeta] = []
    names = _Keys()
    networks: dict[int, list[tuple[int, int, int]]] = {4: [], 6: []}
    substrings: list[tuple[int, list[str]]] = []
    patterns: list[tuple[int, list[str]]] = []
    for number, path in enumerate(paths):
        content = _read(path)
        classes = frozenset(content.matching_attributes)
        metas.append(ListMeta(path.parent.name, content.name, classes, content.type == "hostname"))
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
    data = Index(
        metas,
        keys.stat().st_size,
        combinations,
        starts4,
        lists4,
        [start.to_bytes(16) for start in starts6],
        lists6,
        [list(numbers) for numbers in table],
        substrings,
        patterns,
    )
    write_whole(small, msgspec.msgpack.encode(data), _MODE)


def _read(path: Path) -> WarningListFile:
    try:
        with open_regular(path) as file:
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
        write_whole(path, hashes.tobytes() + sets.tobytes() or b"\0" * 12, _MODE)
        return [[(mark >> 1, mark & 1) for mark in lists] for lists in table]

    def _add(self, key: bytes, mark: int) -> None:
        number = hash_key(key)
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
