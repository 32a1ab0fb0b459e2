"""The published figures, and what a profile costs an attacker by them."""

from __future__ import annotations

import functools
import tomllib
from importlib.resources import files
from typing import Final

import msgspec

from inkgate.rules.crypto.profiles import Argon2id, Hkdf, Pbkdf2, Profile

# SHA-256 compressions of one guess without stretching: HMAC of the value, HKDF-Extract
# and -Expand, and the rule's tag, with the states of known keys kept.
_HKDF_COMPRESSIONS: Final = 16


class _Rate(msgspec.Struct, frozen=True):
    rate: float
    iterations: int = 1
    memory_kib: int = 0


class _Bandwidth(msgspec.Struct, frozen=True):
    kib_per_second: float


class Device(msgspec.Struct, frozen=True, kw_only=True):
    """An attacker's device and its published speeds."""

    name: str
    source: str
    date: str
    pbkdf2_sha256: _Rate | None = None
    pbkdf2_sha512: _Rate | None = None
    sha256: _Rate | None = None
    argon2id: _Rate | None = None
    argon2id_source: str = ""
    argon2id_date: str = ""
    argon2id_bandwidth: _Bandwidth | None = None

    def guesses_per_second(self, profile: Profile) -> float | None:
        """How many guesses it makes, scaled from its published speed; None if there is none."""
        match profile:
            case Argon2id():
                return self._argon2id(profile)
            case Pbkdf2():
                base = self.pbkdf2_sha256 if profile.hash == "sha256" else self.pbkdf2_sha512
                return base.rate * base.iterations / profile.iterations if base else None
            case Hkdf():
                return self.sha256.rate / _HKDF_COMPRESSIONS if self.sha256 else None

    def _argon2id(self, profile: Argon2id) -> float | None:
        if self.argon2id is not None:
            # Memory traffic bounds it, so memory times passes is what a guess costs.
            base = self.argon2id
            work = base.memory_kib * base.iterations
            return base.rate * work / (profile.memory_kib * profile.iterations)
        if self.argon2id_bandwidth is not None:
            traffic = profile.memory_kib * (3 * profile.iterations - 1)
            return self.argon2id_bandwidth.kib_per_second / traffic
        return None


class Population(msgspec.Struct, frozen=True):
    """A set of values that somebody may try."""

    name: str
    kind: str
    count: int
    source: str
    date: str


class Figures(msgspec.Struct, frozen=True):
    """All of figures.toml."""

    devices: tuple[Device, ...]
    populations: tuple[Population, ...]


@functools.cache
def load_figures() -> Figures:
    """Read the table that comes with inkgate."""
    text = (files("inkgate.rules.audit") / "figures.toml").read_text("utf-8")
    return msgspec.convert(tomllib.loads(text), Figures)
