"""Sealing one partition: derive what is new, seal what changed, take over the rest.

Runs in a process of its own when there is much to do. Rows that did not change are taken
over byte by byte, so that nobody can tell dummies from rules by comparing two packs.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from inkgate.config.whole_file import naming
from inkgate.rules.crypto.derive import (
    Deriver,
    Unstretched,
    gate_info,
    gate_number,
    rule_info,
    rule_keys,
)
from inkgate.rules.crypto.key_cache import KeyCache
from inkgate.rules.crypto.message import CANARY, Action, encode_message
from inkgate.rules.crypto.profiles import Hkdf, Profile
from inkgate.rules.crypto.sealing import Rule, rule_aad, seal, unseal
from inkgate.rules.errors import PackError
from inkgate.rules.seal.gate_values import (
    gate_values,
    gate_values_by_level,
    level_of,
    network_values,
)
from inkgate.rules.seal.runs import Row, Run, open_run, write_run
from inkgate.rules.select.indicators import Record
from inkgate.rules.select.network_lengths import NETWORK_CLASSES, Lengths, length_of
from inkgate.rules.select.spool import read_partition

# LMDB's map, not the file's size: the file grows with its content.
CACHE_BYTES: Final = 64 << 30
_KEEP_SECONDS: Final = 1.0
_KEEP_COUNT: Final = 4096


class Epoch(NamedTuple):
    """What sealing needs of a rule set's epoch; `set_key` is a secret.

    Attributes:
        gated: the prefix lengths at which a look-up asks the gate.
    """

    set_id: str
    set_key: bytes
    profiles: Mapping[str, Profile]
    derived: Path
    gated: Lengths


class Task(NamedTuple):
    """One partition to seal: its records, and where its run lies."""

    records: Path
    digest: bytes
    run: Path


class SealCounts(NamedTuple):
    """What had to be done for a partition."""

    derived: int = 0
    new: int = 0
    resealed: int = 0
    removed: int = 0

    def plus(self, other: SealCounts) -> SealCounts:
        """Both together."""
        return SealCounts(*(a + b for a, b in zip(self, other, strict=True)))


def seal_partition(epoch: Epoch, task: Task) -> SealCounts:
    """Seal a partition and replace its run."""
    grouped = _grouped(read_partition(task.records))
    old = open_run(task.run)
    stretched, derived = _stretch_all(grouped, epoch)
    rows, done = _rows(grouped, stretched, epoch, old)
    write_run(
        task.run,
        task.digest,
        rows,
        _gate_numbers(grouped, stretched, epoch.gated),
        _prefixes(record for record, *_ in grouped.values()),
    )
    return done._replace(derived=done.derived + derived)


def _grouped(records: Iterable[Record]) -> dict[tuple[str, bytes], list[Record]]:
    """Records by value; of those that say the same one, since a list may repeat a line for ever."""
    grouped: dict[tuple[str, bytes], list[Record]] = {}
    said: dict[tuple[str, bytes], set[bytes]] = {}
    for record in records:
        key = record.indicator_class, record.data
        several = grouped.setdefault(key, [])
        if several:
            before = said.setdefault(key, {_said(several[0])})
            if _said(record) in before:
                continue
            before.add(_said(record))
        several.append(record)
    return grouped


def _said(record: Record) -> bytes:
    return msgspec.msgpack.encode((record.action, record.expires, sorted(record.fields.items())))


class _Stretcher:
    """Derives each value once; keeps results each second, so that a kill loses little."""

    def __init__(self, epoch: Epoch) -> None:
        self._deriver = Deriver(epoch.set_key, epoch.profiles)
        # HKDF costs no more than reading the key cache, so its results are not kept.
        self._cheap = {kind for kind, p in epoch.profiles.items() if isinstance(p, Hkdf)}
        self._folder = epoch.derived
        with naming(self._folder):
            self._cache = KeyCache(self._folder, epoch.set_id, CACHE_BYTES, durable=True)
        self._fresh: list[tuple[str, bytes, bytes]] = []
        self._kept_at = time.monotonic()
        self.derived = 0
        self.results: dict[Unstretched, bytes] = {}

    def need(self, values: Iterable[Unstretched]) -> None:
        cheap: list[Unstretched] = []
        dear: list[Unstretched] = []
        for value in dict.fromkeys(values):
            if value[0] in self._cheap:
                cheap.append(value)
            elif stretched := self._cache.get(*value):
                self.results[value] = stretched
            else:
                dear.append(value)
        self.results.update(zip(cheap, self._deriver.stretch_many(cheap), strict=True))
        for value, stretched in zip(dear, self._deriver.stretch_many(dear), strict=True):
            self._add(value, stretched)

    def _add(self, value: Unstretched, stretched: bytes) -> None:
        self.derived += 1
        self.results[value] = stretched
        self._fresh.append((*value, stretched))
        if len(self._fresh) >= _KEEP_COUNT or time.monotonic() - self._kept_at > _KEEP_SECONDS:
            self._keep()

    def _keep(self) -> None:
        with naming(self._folder):
            self._cache.put_many(self._fresh)
        self._fresh.clear()
        self._kept_at = time.monotonic()

    def close(self) -> None:
        self._keep()
        self._cache.close()


def _stretch_all(
    grouped: Mapping[tuple[str, bytes], list[Record]], epoch: Epoch
) -> tuple[dict[Unstretched, bytes], int]:
    stretcher = _Stretcher(epoch)
    try:
        stretcher.need(_derivations(grouped, epoch.gated))
    finally:
        stretcher.close()
    return stretcher.results, stretcher.derived


def _derivations(
    grouped: Mapping[tuple[str, bytes], list[Record]], gated: Lengths
) -> Iterator[Unstretched]:
    for (_, data), (first, *_rest) in grouped.items():
        yield first.kind, data
        yield from gate_values(first)
        yield from network_values(first, gated)


def _rows(
    grouped: Mapping[tuple[str, bytes], list[Record]],
    stretched: Mapping[Unstretched, bytes],
    epoch: Epoch,
    old: Run | None,
) -> tuple[dict[str, list[Row]], SealCounts]:
    rows: dict[str, list[Row]] = defaultdict(list)
    before: dict[str, dict[bytes, Row]] = {}
    if old is not None:
        before = {name: {row[0]: row for row in old.rows(name)} for name in old.header.rules}
    set_id = bytes.fromhex(epoch.set_id)
    classes: dict[str, tuple[bytes, bytes]] = {}
    new = resealed = derived = 0
    for (name, data), records in grouped.items():
        kind = records[0].kind
        if name not in classes:
            classes[name] = rule_info(name), rule_aad(set_id, name)
        info, aad = classes[name]
        tag, key = rule_keys(stretched[kind, data], info)
        padded = _message(records)
        row = before.get(name, {}).pop(tag, None)
        if row is None:
            new += 1
            derived += isinstance(epoch.profiles[kind], Hkdf)
            row = seal(tag, key, aad, padded)
        elif not _says(row, key, aad, padded):
            resealed += 1
            row = seal(tag, key, aad, padded)
        rows[name].append(row)
    return dict(rows), SealCounts(derived, new, resealed, sum(map(len, before.values())))


def _says(row: Row, key: bytes, aad: bytes, padded: bytes) -> bool:
    """Whether an old row opens and has this message. If it is damaged, it is sealed again."""
    try:
        return unseal(Rule(*row), key, aad) == padded
    except PackError:
        return False


def _message(records: list[Record]) -> bytes:
    """The message of a rule with all of its attributes.

    The rule blocks if one of them says so, until the last of those has expired. If others
    only log and expire later, the next refresh after that makes a rule of them again. What
    is listed by somebody is no canary any more: it must be reported.
    """
    records = [record for record in records if record.action != CANARY] or records
    if len(records) == 1:
        (record,) = records
        return encode_message(record.action, [record.fields], record.expires)
    attributes = list({tuple(sorted(r.fields.items())): r.fields for r in records}.values())
    action: Action = "block" if any(r.action == "block" for r in records) else "log"
    expiries = [record.expires for record in records if record.action == action]
    return encode_message(action, attributes, max(expiries) if all(expiries) else 0)


def _gate_numbers(
    grouped: Mapping[tuple[str, bytes], list[Record]],
    stretched: Mapping[Unstretched, bytes],
    gated: Lengths,
) -> dict[str, Iterable[int]]:
    hosts = gate_values_by_level((first for first, *_ in grouped.values()), gated)
    infos = {level: gate_info(level_of(level)) for level in hosts}
    return {
        level: [gate_number(stretched[v], infos[level]) for v in sorted(values)]
        for level, values in hosts.items()
    }


def _prefixes(records: Iterable[Record]) -> dict[str, list[int]]:
    lengths: dict[str, set[int]] = {}
    for record in records:
        if record.indicator_class in NETWORK_CLASSES:
            version, length = length_of(record.data.decode())
            lengths.setdefault(version, set()).add(length)
    return {version: sorted(found) for version, found in sorted(lengths.items())}
