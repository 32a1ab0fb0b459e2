"""From a profile to the KDF that runs it."""

from __future__ import annotations

from typing import Protocol, assert_never

from inkgate.rules.crypto.kdf.hkdf import HkdfKdf
from inkgate.rules.crypto.kdf.pbkdf2 import Pbkdf2Kdf
from inkgate.rules.crypto.profiles import Argon2id, Hkdf, Pbkdf2, Profile


class Kdf(Protocol):
    """A KDF with its costs chosen."""

    def stretch(self, password: bytes, salt: bytes) -> bytes:
        """Derive `STRETCHED_BYTES` from a 32-byte password and a 16-byte salt."""


def kdf_of(profile: Profile) -> Kdf:
    """The KDF of a profile; mypy refuses an algorithm that has none."""
    match profile:
        case Argon2id():
            # Imported here: a set without Argon2id should not pay for it at start.
            from inkgate.rules.crypto.kdf.argon2id import Argon2idKdf  # noqa: PLC0415

            return Argon2idKdf(profile)
        case Pbkdf2():
            return Pbkdf2Kdf(profile)
        case Hkdf():
            return HkdfKdf()
        case _:
            assert_never(profile)
