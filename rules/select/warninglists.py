"""MISP's warninglists, compiled once into an index that a million lookups can afford.

The lists come from the package pymispwarninglists. Its own search is either exact
only or walks every entry of every list; a set of indicators needs both the names
that a rule equals and the listed names that a rule would cover.
"""

from __future__ import annotations

import importlib.util
import ipaddress
import mmap
import re
import socket
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Final, Literal, NamedTuple

import msgspec

from inkgate.config.errors import Unreadable
from inkgate.config.modes import make_folder
from inkgate.config.processes import Workers, result_of
from inkgate.rules.canonical import ObservedAt, Value, classes_at
from inkgate.rules.select.warninglist_index import (
    Index,
    compile_lists,
    fingerprint,
    hash_key,
    load_index,
    remove_others,
)

Relation = Literal["is", "covers", "below"]

WITH_SUBDOMAINS: Final = frozenset(classes_at(ObservedAt.HOST_OR_PARENT))
"""Classes whose rules also match what lies below a name."""

_FEW: Final = 64
_LARGE: Final = 4 << 20


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


def packaged_lists() -> Path | None:
    """Folder of the lists that came with the package pymispwarninglists, if it is installed."""
    spec = importlib.util.find_spec("pymispwarninglists")
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent / "data" / "misp-warninglists" / "lists"


def _compile_aside(paths: list[Path], keys: Path, small: Path) -> None:
    """In a process of its own if there is much: it takes memory that ours would keep."""
    if sum(path.stat().st_size for path in paths) < _LARGE:
        compile_lists(paths, keys, small)
        return
    with Workers(1, _compiling, keys, small) as workers:
        result_of(workers.submit(paths))


def _compiling(keys: Path, small: Path) -> AbstractContextManager[Callable[[list[Path]], None]]:
    return nullcontext(partial(compile_lists, keys=keys, small=small))


class WarningLists:
    """The compiled lists.

    Args:
        lists: folder with one folder a list, each with a list.json.
        index: folder where the compiled form is kept.

    Raises:
        Unreadable: a list cannot be read.
    """

    def __init__(self, lists: Path, index: Path) -> None:
        self._folders = lists, index
        paths = sorted(lists.glob("*/list.json"))
        if not paths:
            raise Unreadable(
                lists, None, "holds no warninglists", "correct [rules] warninglists_folder"
            )
        key = fingerprint(paths)
        make_folder(index, 0o700)
        keys, small = index / f"{key}.keys", index / f"{key}.lists"
        loaded = load_index(keys, small)
        if loaded is None:
            _compile_aside(paths, keys, small)
            remove_others(index, key)
            loaded = msgspec.msgpack.decode(small.read_bytes(), type=Index)
        self._small = loaded
        with keys.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        count = len(self._map) // 12
        self._hashes = memoryview(self._map)[: count * 8].cast("Q")
        self._sets = memoryview(self._map)[count * 8 :].cast("I")
        self._inside: dict[str, Inside] = {}
        self.names = frozenset(meta.name for meta in self._small.lists)

    def __reduce__(self) -> tuple[type[WarningLists], tuple[Path, Path]]:
        # Another process maps the index itself.
        return WarningLists, self._folders

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
            elif indicator_class in WITH_SUBDOMAINS:
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
        number = hash_key(key)
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
