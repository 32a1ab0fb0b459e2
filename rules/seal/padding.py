"""Dummy rules: they hide how many indicators a set has.

A dummy must look like a rule in every column, also beside an older pack of the same
epoch: it stays the same from refresh to refresh. So dummies are drawn from a
pseudo-random function of a secret of the publisher, not from a random generator.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple, Self

from inkgate.config.whole_file import create_once
from inkgate.rules.canonical.fields import length_prefixed
from inkgate.rules.crypto.message import encode_message
from inkgate.rules.crypto.sealing import AUTHENTICATOR_BYTES, NONCE_BYTES, TAG_BYTES
from inkgate.rules.seal.gate_values import gate_values_by_level, level_of
from inkgate.rules.seal.runs import Row, RunHeader
from inkgate.rules.select.indicators import Record
from inkgate.rules.select.network_lengths import Lengths

PADDING_KEY: Final = "padding.key"
_KEY_BYTES: Final = 32


class KnownRules(NamedTuple):
    """Rules of which everybody knows how many there are: canaries.

    Dummies must not look like them. A class has one canary: if dummies had its length as
    often as rules have it, they would tell how many rules there are; so would a gate.

    Attributes:
        lengths: by class, how many of their ciphertexts have which length.
        values: by gate level, how many values they have there.
    """

    lengths: Mapping[str, Mapping[int, int]]
    values: Mapping[str, int]

    @classmethod
    def of(cls, records: Iterable[Record], gated: Lengths) -> Self:
        """Those that are made from these records, one each.

        Args:
            gated: the prefix lengths at which a look-up asks the gate.
        """
        records = tuple(records)
        lengths: dict[str, Counter[int]] = {}
        for record in records:
            padded = encode_message(record.action, [record.fields], record.expires)
            size = len(padded) + AUTHENTICATOR_BYTES
            lengths.setdefault(record.indicator_class, Counter())[size] += 1
        values: Counter[str] = Counter()
        for name, found in gate_values_by_level(records, gated).items():
            values[level_of(name)] += len(found)
        return cls(lengths, values)

    @property
    def rules(self) -> int:
        """How many they are."""
        return sum(sum(found.values()) for found in self.lengths.values())


class Padding:
    """Fills every class up to a multiple of rules.

    Args:
        key: 32 secret bytes.
        set_id: the epoch; another one has other dummies.
        multiple: what the number of rules of each class becomes a multiple of.
        known: rules that dummies do not look like.
    """

    def __init__(self, key: bytes, set_id: str, multiple: int, known: KnownRules) -> None:
        self._key = key
        self._set_id = bytes.fromhex(set_id)
        self._multiple = multiple
        self._known = known

    def rows(self, indicator_class: str, headers: Sequence[RunHeader]) -> Iterator[Row]:
        """The dummies of one class, sorted by tag."""
        lengths: Counter[int] = Counter()
        for header in headers:
            lengths.update(header.lengths.get(indicator_class, {}))
        hidden = lengths - Counter(self._known.lengths.get(indicator_class, {}))
        # In a class of canaries alone there is nothing to hide, and nothing else to look like.
        ordered = sorted((hidden or lengths).items())
        name = indicator_class.encode()
        dummies = (
            self._row(name, number, ordered) for number in range(self._missing(lengths.total()))
        )
        yield from sorted(dummies)

    def numbers(self, level: str, values: int, headers: Sequence[RunHeader]) -> list[int]:
        """Numbers for a gate's level, for each dummy as many as a rule has on average."""
        rules: Counter[str] = Counter()
        for header in headers:
            rules.update(header.rules)
        dummies = sum(self._missing(count) for count in rules.values())
        hidden = rules.total() - self._known.rules
        values -= self._known.values.get(level, 0)
        wanted = round(max(0, values) * dummies / hidden) if hidden > 0 else 0
        return [
            int.from_bytes(self._draw(8, b"gate", level.encode(), number.to_bytes(8)))
            for number in range(wanted)
        ]

    def _missing(self, count: int) -> int:
        return -count % self._multiple

    def _row(self, name: bytes, number: int, ordered: list[tuple[int, int]]) -> Row:
        which = number.to_bytes(8)
        point = int.from_bytes(self._draw(8, b"length", name, which))
        size = _pick(ordered, point)
        tag = self._draw(TAG_BYTES, b"tag", name, which)
        # The length is part of it: a rule that changes its length is sealed again, with a new
        # nonce, so a dummy that does must change all of its bytes as well.
        body = self._draw(NONCE_BYTES + size, b"body", name, which, size.to_bytes(4))
        return tag, body[:NONCE_BYTES], body[NONCE_BYTES:]

    def _draw(self, size: int, *what: bytes) -> bytes:
        return hashlib.shake_256(
            length_prefixed(b"inkgate/v1 padding", self._key, self._set_id, *what)
        ).digest(size)


def _pick(ordered: list[tuple[int, int]], point: int) -> int:
    # By quantile: when few rules change their lengths, few dummies do.
    rest = point * sum(count for _, count in ordered) >> 64
    for size, count in ordered:
        if rest < count:
            return size
        rest -= count
    raise AssertionError("unreachable: the counts were summed")


def read_padding_key(publisher: Path) -> bytes:
    """The publisher's secret for dummies, made on first use (mode 0600).

    Raises:
        OSError: it can neither be read nor made.
    """
    path = publisher / PADDING_KEY
    create_once(path, os.urandom(_KEY_BYTES), 0o600)
    key = path.read_bytes()
    if len(key) != _KEY_BYTES:
        raise OSError(f"{path} is damaged; remove it")
    return key
