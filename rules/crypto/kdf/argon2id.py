"""Argon2id, version 0x13 (RFC 9106)."""

from __future__ import annotations

from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from inkgate.rules.crypto import profiles


class Argon2idKdf:
    """Runs a profile of Argon2id.

    Args:
        profile: its costs.
    """

    def __init__(self, profile: profiles.Argon2id) -> None:
        self._profile = profile

    def stretch(self, password: bytes, salt: bytes) -> bytes:
        """Derive 32 bytes from a 32-byte password and a 16-byte salt."""
        kdf = Argon2id(
            salt=salt,
            length=profiles.STRETCHED_BYTES,
            iterations=self._profile.iterations,
            lanes=self._profile.lanes,
            memory_cost=self._profile.memory_kib,
        )
        return kdf.derive(password)
