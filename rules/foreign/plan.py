"""The cost of a batch, computed before anything is derived.

Each rule has its own salt, so every distinct value costs one derivation PER RULE.
"""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from inkgate.rules.foreign.errors import ForeignError
from inkgate.rules.foreign.rule import ForeignRules, KeyDerivation, SealedRule, Values, opened

MAX_GROUPS: Final = 1000
_MAX_PAIRS: Final = 50_000_000
_SAMPLES: Final = 5
_ENOUGH_SECONDS: Final = 0.02
_SAMPLE_PASSWORD: Final = b"cost.example"


class Observation(NamedTuple):
    """Something seen.

    Attributes:
        query: as it was given.
        readings: its values by attribute type; several where it is not clear which `|`
            separates them. All have the same types.
        is_joint: it is made of other observations, and stands for its values together.
    """

    query: str
    readings: tuple[Mapping[str, str], ...]
    is_joint: bool = False


class ForeignMatch(NamedTuple):
    """A rule or a Bloom filter that matches an observation.

    Attributes:
        attributes: the types that matched; empty for a Bloom filter, which knows no types.
        message: the rule's message; empty for a Bloom filter.
        certain: False if it may be a false positive.
        place: the rule's file and line.
    """

    query: str
    attributes: tuple[str, ...]
    message: str
    certain: bool
    place: str


@dataclass
class RuleGroup:
    """Rules with the same attributes and cost, and all passwords to try on each of them.

    Attributes:
        owners: for each password, the numbers of the observations that it is made of.
    """

    attributes: tuple[str, ...]
    derivations: tuple[KeyDerivation, ...]
    rules: list[SealedRule] = field(default_factory=list)
    owners: dict[bytes, list[int]] = field(default_factory=dict)
    filtered: int = 0
    seconds: float = 0.0

    @property
    def count(self) -> int:
        """Derivations."""
        return len(self.rules) * len(self.owners) * len(self.derivations)

    @property
    def total(self) -> float:
        """Seconds on one core."""
        return self.seconds * len(self.rules) * len(self.owners)


class Plan(NamedTuple):
    """A batch.

    Attributes:
        listed: matches of a Bloom filter that comes without rules; they need no derivation.
    """

    foreign: ForeignRules
    observations: Sequence[Observation]
    groups: list[RuleGroup]
    listed: list[ForeignMatch]

    @property
    def derivations(self) -> int:
        """How many there are in all."""
        return sum(group.count for group in self.groups)

    @property
    def seconds(self) -> float:
        """Measured time on one core."""
        return sum(group.total for group in self.groups)


def make_plan(foreign: ForeignRules, observations: Sequence[Observation]) -> Plan:
    """Find what must be derived, and measure what one derivation costs here.

    Raises:
        ForeignError: there is too much to look at.
    """
    groups = _groups(foreign.rules)
    if len(groups) > MAX_GROUPS or len(groups) * len(observations) > _MAX_PAIRS:
        raise ForeignError(
            foreign.where,
            None,
            f"has over {MAX_GROUPS:,} combinations of types and costs, or too many for "
            f"{len(observations):,} values",
            "split the rules or the values",
        )
    listed: list[ForeignMatch] = []
    needed = [(group, frozenset(group.attributes)) for group in groups]
    for number, seen in enumerate(observations):
        spellings = [s for reading in seen.readings for s in foreign.spellings(reading)]
        if not foreign.rules and _is_listed(foreign, spellings, is_joint=seen.is_joint):
            listed.append(ForeignMatch(seen.query, (), "", certain=False, place="joker"))
        for group, names in needed:
            if len(names) > seen.is_joint and spellings[0].keys() >= names:
                _add(foreign, group, spellings, number)
    used = [group for group in groups if group.owners or group.filtered]
    for group in used:
        if group.owners:
            group.seconds = _measure(group)
    return Plan(foreign, observations, used, listed)


def statement(plan: Plan, jobs: int) -> Iterator[str]:
    """The cost in words, a line a group."""
    foreign = plan.foreign
    if foreign.filter is not None:
        bloom = foreign.filter.bloom
        yield (
            f"{foreign.name}: a Bloom filter of {bloom.capacity:,} values lets about 1 in "
            f"{1 / bloom.fill() ** bloom.slices if bloom.fill() else 0:,.0f} others pass"
        )
    for group in plan.groups:
        skipped = f" ({group.filtered:,} more stopped by the filter)" if group.filtered else ""
        yield (
            f"{foreign.name} {'|'.join(group.attributes)}: {len(group.rules):,} rules, each with "
            f"its own salt, x {len(group.owners):,} distinct values{skipped}: "
            f"{group.count:,} derivations"
            + (f" of {group.seconds * 1e6:,.0f} us" if group.owners else "")
            + f" ({' or '.join(d.describe() for d in group.derivations)})"
        )
    yield (
        f"{foreign.name}: about {plan.seconds / jobs:,.1f} s in all on {jobs} cores "
        "with nothing else to do"
    )


def try_password(rule: SealedRule, password: bytes) -> str | None:
    """A rule's message, if the password opens it."""
    for derivation in rule.derivations:
        message = opened(rule, derivation.key(password, rule))
        if message is not None:
            return message.decode(errors="backslashreplace")
    return None


def _groups(rules: Iterable[SealedRule]) -> list[RuleGroup]:
    found: dict[object, RuleGroup] = {}
    for rule in rules:
        key = rule.attributes, rule.derivations
        group = found.get(key) or found.setdefault(
            key, RuleGroup(rule.attributes, rule.derivations)
        )
        group.rules.append(rule)
    return list(found.values())


def _add(foreign: ForeignRules, group: RuleGroup, spellings: list[Values], number: int) -> None:
    for values in spellings:
        password = _joined(foreign, (values[name] for name in group.attributes))
        if foreign.filter is not None and password not in foreign.filter:
            group.filtered += 1
        elif number not in (owners := group.owners.setdefault(password, [])):
            owners.append(number)


def _is_listed(foreign: ForeignRules, spellings: list[Values], *, is_joint: bool) -> bool:
    if foreign.filter is None:
        return False
    joined = (foreign.separator.join(v.values()) for v in spellings)
    texts = ((*(() if is_joint else v.values()), j) for v, j in zip(spellings, joined, strict=True))
    return any(
        text.encode(errors="surrogateescape") in foreign.filter
        for text in dict.fromkeys(itertools.chain.from_iterable(texts))
    )


def _joined(foreign: ForeignRules, texts: Iterable[str]) -> bytes:
    return foreign.separator.join(texts).encode(errors="surrogateescape")


def _measure(group: RuleGroup) -> float:
    """Median seconds that one password costs with one rule."""
    rule = group.rules[0]
    times: list[float] = []
    began = time.perf_counter()
    while len(times) < _SAMPLES or time.perf_counter() - began < _ENOUGH_SECONDS:
        started = time.perf_counter()
        try_password(rule, _SAMPLE_PASSWORD)
        times.append(time.perf_counter() - started)
        if times[-1] > _ENOUGH_SECONDS * _SAMPLES:
            break
    return statistics.median(times)
