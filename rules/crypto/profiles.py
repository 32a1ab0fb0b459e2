"""KDF profiles: what one guess at a value costs, and the caps on what this machine runs.

A profile comes in a manifest from somebody else. Without caps it could make this machine
use any amount of memory and time.

Only what profiles are is said here, so that reading settings and manifests loads no
cryptography; what runs them is in `inkgate.rules.crypto.kdf`. A new algorithm is a
structure here with `is_sound` and `is_within`, its place in `Profile`, and its KDF there.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from inkgate.rules.errors import PackError

STRETCHED_BYTES: Final = 32
"""Bytes that every KDF derives, whatever its profile."""


class Caps(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The most that a manifest's profile may ask for (docs/format.md, section 8)."""

    argon2id_memory_kib: int = 65_536
    argon2id_iterations: int = 4
    argon2id_lanes: int = 4
    pbkdf2_iterations: int = 1_000_000
    # Of foreign rules only (docs/foreign-rules.md).
    bcrypt_rounds: int = 2_000


class Argon2id(msgspec.Struct, frozen=True, tag_field="algorithm", tag="argon2id"):
    """Argon2id, version 0x13 (RFC 9106)."""

    memory_kib: int
    iterations: int
    lanes: int = 1

    def is_sound(self) -> bool:
        """Whether the algorithm is defined for these costs."""
        # RFC 9106, section 3.1: at least 8 KiB a lane, at least one pass.
        return self.lanes >= 1 and self.iterations >= 1 and self.memory_kib >= 8 * self.lanes

    def is_within(self, caps: Caps) -> bool:
        """Whether this machine allows these costs."""
        return (
            self.memory_kib <= caps.argon2id_memory_kib
            and self.iterations <= caps.argon2id_iterations
            and self.lanes <= caps.argon2id_lanes
        )


class Pbkdf2(msgspec.Struct, frozen=True, tag_field="algorithm", tag="pbkdf2"):
    """PBKDF2 with HMAC (RFC 8018, section 5.2)."""

    hash: Literal["sha256", "sha384", "sha512"]
    iterations: int

    def is_sound(self) -> bool:
        """Whether the algorithm is defined for these costs."""
        return self.iterations >= 1

    def is_within(self, caps: Caps) -> bool:
        """Whether this machine allows these costs."""
        return self.iterations <= caps.pbkdf2_iterations


class Hkdf(msgspec.Struct, frozen=True, tag_field="algorithm", tag="hkdf"):
    """HKDF (RFC 5869): no stretching, for values that cannot be guessed anyway."""

    def is_sound(self) -> bool:
        """Always: there is nothing to choose."""
        return True

    def is_within(self, caps: Caps) -> bool:  # noqa: ARG002 (the others need it)
        """Always: its cost is fixed and small."""
        return True


Profile = Argon2id | Pbkdf2 | Hkdf

PROFILES: Final[dict[str, Profile]] = {
    "argon2id-1mib": Argon2id(memory_kib=1024, iterations=1),
    "argon2id-4mib": Argon2id(memory_kib=4096, iterations=1),
    "argon2id-19mib": Argon2id(memory_kib=19_456, iterations=2),
    "pbkdf2-sha256-1000": Pbkdf2(hash="sha256", iterations=1000),
    "pbkdf2-sha512-10000": Pbkdf2(hash="sha512", iterations=10_000),
    "hkdf": Hkdf(),
    # One iteration: for tests, where cost is not the subject. Never for real rules.
    "test": Pbkdf2(hash="sha256", iterations=1),
}

DEFAULT_PROFILES: Final[dict[str, str]] = {
    "name": "argon2id-1mib",
    "ip": "argon2id-4mib",
    "url": "argon2id-1mib",
    "digest": "hkdf",
    "text": "argon2id-1mib",
}


def check_profile(kind: str, profile: Profile, caps: Caps) -> None:
    """Refuse a profile that is not well formed, or that costs more than the caps allow.

    Raises:
        PackError: `bad-manifest` or `too-costly`.
    """
    if not profile.is_sound():
        raise PackError(
            "bad-manifest", f"the {kind} profile has impossible costs", "ask its publisher"
        )
    if not profile.is_within(caps):
        raise PackError(
            "too-costly",
            f"the {kind} profile costs more than this machine allows",
            "raise [rules.caps] in inkgate.toml if you trust it",
        )
