"""Profiles from cheap to dear, measured here: what a budget buys."""

from __future__ import annotations

from typing import Final, NamedTuple

from inkgate.rules.audit.costs import Cost, measure
from inkgate.rules.audit.figures import Figures
from inkgate.rules.crypto.profiles import Argon2id, Caps, Pbkdf2, Profile

_ARGON2_KIB: Final = (64, 256, 1024, 2048, 4096, 8192, 16_384, 32_768, 65_536)
_PBKDF2: Final = (1000, 5000, 20_000, 100_000)


class Rung(NamedTuple):
    """A profile and its cost."""

    profile: Profile
    cost: Cost


def ladder(caps: Caps, longest: float) -> list[Rung]:
    """Argon2id and PBKDF2 profiles within the caps, each family until one is too long.

    Args:
        longest: seconds of a derivation; the first rung above it is the last one.
    """
    families: tuple[list[Profile], ...] = (
        [
            Argon2id(memory_kib=m, iterations=1)
            for m in _ARGON2_KIB
            if m <= caps.argon2id_memory_kib
        ],
        [Pbkdf2(hash="sha512", iterations=n) for n in _PBKDF2 if n <= caps.pbkdf2_iterations],
    )
    found: list[Rung] = []
    for family in families:
        for profile in family:
            found.append(Rung(profile, measure(profile)))
            if found[-1].cost.cpu > longest:
                break
    return found


def best(rungs: list[Rung], budget: float, figures: Figures) -> Rung | None:
    """The rung within a budget that leaves an attacker the fewest guesses a second."""
    within = [rung for rung in rungs if rung.cost.cpu <= budget]
    return min(within, key=lambda rung: fastest(rung.profile, figures), default=None)


def fastest(profile: Profile, figures: Figures) -> float:
    """Guesses a second of the fastest device in the table."""
    rates = (device.guesses_per_second(profile) for device in figures.devices)
    return max((rate for rate in rates if rate), default=float("inf"))
