"""KDF profiles: how dear one guess at a value is, and the caps on what we run.

A profile arrives in a manifest, that is, from somebody else: without caps it
could ask this machine for any amount of memory and time.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Final, Literal

import msgspec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from inkgate.rules.canonical.fields import length_prefixed
from inkgate.rules.errors import PackError

STRETCHED_BYTES: Final = 32
_STRETCH: Final = length_prefixed(b"inkgate/v1 stretch")


class Argon2id(msgspec.Struct, frozen=True, tag_field="algorithm", tag="argon2id"):
    """Argon2id, version 0x13 (RFC 9106)."""

    memory_kib: int
    iterations: int
    lanes: int = 1

    def stretch(self, password: bytes, salt: bytes) -> bytes:
        """Derive 32 bytes from a 32-byte password and a 16-byte salt."""
        # Imported here: a set without Argon2id should not pay for it at start.
        from cryptography.hazmat.primitives.kdf import argon2  # noqa: PLC0415

        kdf = argon2.Argon2id(
            salt=salt,
            length=STRETCHED_BYTES,
            iterations=self.iterations,
            lanes=self.lanes,
            memory_cost=self.memory_kib,
        )
        return kdf.derive(password)


class Pbkdf2(msgspec.Struct, frozen=True, tag_field="algorithm", tag="pbkdf2"):
    """PBKDF2 with HMAC (RFC 8018, section 5.2)."""

    hash: Literal["sha256", "sha384", "sha512"]
    iterations: int

    def stretch(self, password: bytes, salt: bytes) -> bytes:
        """Derive 32 bytes from a 32-byte password and a 16-byte salt."""
        return hashlib.pbkdf2_hmac(self.hash, password, salt, self.iterations, STRETCHED_BYTES)


class Hkdf(msgspec.Struct, frozen=True, tag_field="algorithm", tag="hkdf"):
    """HKDF (RFC 5869): no stretching, for values that cannot be guessed anyway."""

    def stretch(self, password: bytes, salt: bytes) -> bytes:
        """Derive 32 bytes from a 32-byte password and a 16-byte salt."""
        prk = hmac.digest(salt, password, "sha256")
        return HKDFExpand(SHA256(), STRETCHED_BYTES, _STRETCH).derive(prk)


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


class Caps(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The most that a manifest's profile may ask for (docs/format.md, section 8)."""

    argon2id_memory_kib: int = 65_536
    argon2id_iterations: int = 4
    argon2id_lanes: int = 4
    pbkdf2_iterations: int = 1_000_000
    # Of foreign rules only (docs/foreign-rules.md).
    bcrypt_rounds: int = 2_000


def check_profile(kind: str, profile: Profile, caps: Caps) -> None:
    """Refuse a profile that is not well formed or dearer than the caps.

    Raises:
        PackError: `bad-manifest` or `too-costly`.
    """
    match profile:
        case Argon2id():
            # RFC 9106, section 3.1: at least 8 KiB a lane, at least one pass.
            sound = (
                profile.lanes >= 1
                and profile.iterations >= 1
                and profile.memory_kib >= 8 * profile.lanes
            )
            dear = (
                profile.memory_kib > caps.argon2id_memory_kib
                or profile.iterations > caps.argon2id_iterations
                or profile.lanes > caps.argon2id_lanes
            )
        case Pbkdf2():
            sound, dear = profile.iterations >= 1, profile.iterations > caps.pbkdf2_iterations
        case Hkdf():
            sound, dear = True, False
    if not sound:
        raise PackError(
            "bad-manifest", f"the {kind} profile has impossible costs", "ask its publisher"
        )
    if dear:
        raise PackError(
            "too-costly",
            f"the {kind} profile costs more than this machine allows",
            "raise [rules.caps] in inkgate.toml if you trust it",
        )
