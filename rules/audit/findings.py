"""What a set resists, in numbers: the table that `inkgate-rules audit` prints."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Final

import msgspec

from inkgate.rules.audit.costs import Cost, describe, measure
from inkgate.rules.audit.figures import Device, Figures, Population
from inkgate.rules.canonical import single_classes
from inkgate.rules.crypto.profiles import Profile
from inkgate.rules.crypto.weak_token import MIN_TOKEN_BYTES
from inkgate.rules.install.generation import Generation
from inkgate.rules.pack.manifest import Manifest

_YEAR: Final = 365.25 * 86_400


class Attacker(msgspec.Struct, frozen=True):
    """One device against one population, seconds; with one salt a set and one a rule.

    Attributes:
        seconds: for all candidates, with the token. This opens every rule of the kind.
        per_rule_sweep: the same if each rule had its own salt.
        per_rule_one: one chosen rule among them, if each had its own salt.
        gated: with the help of the gates; the same as `seconds` where they do not help.
        years_without_token: to guess the token first, of the fewest bytes allowed.
    """

    device: str
    guesses_per_second: float
    seconds: float
    per_rule_sweep: float
    per_rule_one: float
    gated: float
    years_without_token: float


class Finding(msgspec.Struct, frozen=True):
    """What a kind's profile costs, here and to attackers."""

    kind: str
    profile: str
    rules: int
    cpu_seconds: float
    wall_seconds: float
    population: str
    candidates: int
    attackers: tuple[Attacker, ...]


class GateFinding(msgspec.Struct, frozen=True):
    """What a gate says to who has the token, for each name that is derived.

    Attributes:
        passing: part of unlisted values that pass, by the bits that are set.
        listed_if_passed: how likely a name that passes is listed, among all domains.
    """

    level: str
    bits: int
    passing: float
    listed_if_passed: float


class Audit(msgspec.Struct, frozen=True):
    """All findings, and where their figures are from."""

    set_id: str
    serial: int
    epsilon: float
    findings: tuple[Finding, ...]
    gates: tuple[GateFinding, ...]
    sources: tuple[str, ...]


def audit(generation: Generation, figures: Figures) -> Audit:
    """Measure and compute everything."""
    manifest = generation.manifest
    costs: dict[Profile, Cost] = {}
    for population in figures.populations:
        profile = manifest.profiles[population.kind]
        costs.setdefault(profile, measure(profile))
    gates = tuple(_gate(generation, level, figures) for level in sorted(manifest.gates))
    passing = math.prod(gate.passing for gate in gates)
    findings = tuple(
        _finding(manifest, population, costs, figures, passing)
        for population in figures.populations
    )
    return Audit(
        manifest.set_id,
        manifest.serial,
        manifest.epsilon,
        findings,
        gates,
        tuple(_sources(figures)),
    )


def rules_of(manifest: Manifest, kind: str) -> int:
    """Rules of the classes that one value of a kind opens."""
    names = single_classes(kind)
    return sum(file.rules for name, file in manifest.classes.items() if name in names)


def _finding(
    manifest: Manifest,
    population: Population,
    costs: dict[Profile, Cost],
    figures: Figures,
    passing: float,
) -> Finding:
    profile = manifest.profiles[population.kind]
    cost = costs[profile]
    rules = rules_of(manifest, population.kind)
    devices = [("one core of this machine", 1 / cost.cpu)]
    devices += [
        (device.name, rate)
        for device in figures.devices
        if (rate := device.guesses_per_second(profile))
    ]
    share = passing if population.kind == "url" else 1.0
    return Finding(
        population.kind,
        describe(profile),
        rules,
        cost.cpu,
        cost.wall,
        population.name,
        population.count,
        tuple(attacker(name, rate, population.count, rules, share) for name, rate in devices),
    )


def attacker(name: str, rate: float, candidates: int, rules: int, share: float) -> Attacker:
    """The times of one device.

    Args:
        share: part of the candidates that is left when the gates have been asked.
    """
    seconds = candidates / rate
    return Attacker(
        name,
        rate,
        seconds,
        seconds * max(rules, 1),
        seconds,
        seconds * share,
        2 ** (8 * MIN_TOKEN_BYTES - 1) / rate / _YEAR,
    )


def _gate(generation: Generation, level: str, figures: Figures) -> GateFinding:
    bits = generation.manifest.gates[level].bits
    passing = _ones(generation.folder / f"{level}.gate") / bits
    domains = next(p.count for p in figures.populations if p.kind == "name")
    listed = rules_of(generation.manifest, "name" if level == "suffix" else "url")
    total = listed + passing * domains
    return GateFinding(level, bits, passing, listed / total if total else 0.0)


def _ones(path: Path) -> int:
    with path.open("rb") as file:
        return sum(
            int.from_bytes(block).bit_count() for block in iter(lambda: file.read(8192), b"")
        )


def _sources(figures: Figures) -> list[str]:
    devices = [
        text
        for device in figures.devices
        for text in (
            f"{device.name}: {device.source} ({device.date})",
            _argon2id_source(device),
        )
        if text
    ]
    return [*devices, *(f"{p.name}: {p.source} {p.date}".strip() for p in figures.populations)]


def _argon2id_source(device: Device) -> str:
    if not device.argon2id_source:
        return ""
    return f"{device.name}, Argon2id: {device.argon2id_source} ({device.argon2id_date})"


def as_json(found: Audit, **more: Any) -> bytes:
    """Everything as JSON."""
    return msgspec.json.format(msgspec.json.encode({"audit": found, **more}), indent=1)
