"""From indicators to the rules and gates of a pack, doing only the work that is new."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import NamedTuple

from rules.canonical import Value, suffixes
from rules.derive import Deriver, gate_info, gate_number, rule_info, rule_keys
from rules.gates import LEVELS, build_gate
from rules.indicators import Indicator
from rules.keycache import KeyCache
from rules.message import Action, encode_message
from rules.sealing import Rule, rule_aad, seal, unseal

_BATCH = 4096

Derivation = tuple[str, bytes]
Progress = Callable[[int], object]


class Sealed(NamedTuple):
    """A pack's content, with what had to be done for it."""

    rules: dict[str, list[Rule]]
    gates: dict[str, bytes]
    prefixes: dict[str, tuple[int, ...]]
    new: int
    resealed: int


def derivations(indicators: Mapping[Indicator, object]) -> list[Derivation]:
    """Every value that has to be stretched: the indicators', and their hosts' for the gates."""
    wanted: dict[Derivation, None] = {}
    for indicator in indicators:
        value = indicator.value
        wanted[value.kind, value.data] = None
        for host in gate_values(value):
            wanted[host] = None
    return list(wanted)


def gate_values(value: Value) -> Iterator[Derivation]:
    """The values that set bits in the suffix gate; the last one is the whole host."""
    if value.host is None:
        return
    if value.host.kind == "ip":
        yield "ip", value.host.value.encode()
    else:
        for name in suffixes(value.host.value):
            yield "name", name.encode()


def stretch_all(
    wanted: Sequence[Derivation], deriver: Deriver, cache: KeyCache, progress: Progress
) -> tuple[dict[Derivation, bytes], int]:
    """Stretch values on all cores, keeping each batch, so that a killed run is not lost.

    Returns:
        The stretched bytes of every value, and how many were not in the cache.
    """
    done: dict[Derivation, bytes] = {}
    missing = []
    for value in wanted:
        stretched = cache.get(*value)
        if stretched is None:
            missing.append(value)
        else:
            done[value] = stretched
    progress(len(done))
    with ThreadPoolExecutor(os.cpu_count() or 1) as executor:
        rest = iter(missing)
        while batch := list(islice(rest, _BATCH)):
            entries = []
            for value, stretched in zip(batch, deriver.stretch_many(batch, executor), strict=True):
                done[value] = stretched
                entries.append((*value, stretched))
                progress(1)
            cache.put_many(entries)
    return done, len(missing)


def seal_all(
    indicators: Mapping[Indicator, list[dict[str, str]]],
    stretched: Mapping[Derivation, bytes],
    *,
    set_id: bytes,
    action: Action,
    epsilon: float,
    previous: Mapping[str, Mapping[bytes, Rule]],
) -> Sealed:
    """Make the rules and gates; a rule whose message is unchanged is taken over as it is.

    Taking it over keeps packs comparable: what did not change looks the same.
    """
    rules: dict[str, list[Rule]] = defaultdict(list)
    numbers: dict[str, set[int]] = {level: set() for level in LEVELS}
    infos = {level: gate_info(level) for level in LEVELS}
    new = resealed = 0
    for indicator, attributes in indicators.items():
        name, value = indicator
        tag, key = rule_keys(stretched[value.kind, value.data], rule_info(name))
        aad, padded = rule_aad(set_id, name), encode_message(action, attributes)
        old = previous.get(name, {}).get(tag)
        if old is not None and unseal(old, key, aad) == padded:
            rules[name].append(old)
        else:
            rules[name].append(seal(tag, key, aad, padded))
            new += old is None
            resealed += old is not None
        hosts = [stretched[host] for host in gate_values(value)]
        numbers["suffix"].update(gate_number(host, infos["suffix"]) for host in hosts)
        if value.is_url and hosts:
            numbers["url-host"].add(gate_number(hosts[-1], infos["url-host"]))
    gates = {} if epsilon == 1 else {k: build_gate(n, epsilon) for k, n in numbers.items()}
    return Sealed(dict(rules), gates, prefixes(indicators), new, resealed)


def prefixes(indicators: Iterable[Indicator]) -> dict[str, tuple[int, ...]]:
    """The prefix lengths that occur among addresses and networks, by IP version."""
    lengths: dict[str, set[int]] = {}
    for name, value in indicators:
        if name in ("ip-dst", "ip-src"):
            address, _, length = value.data.decode().partition("/")
            version, full = ("6", 128) if ":" in address else ("4", 32)
            lengths.setdefault(version, set()).add(int(length or full))
    return {version: tuple(sorted(found)) for version, found in sorted(lengths.items())}
