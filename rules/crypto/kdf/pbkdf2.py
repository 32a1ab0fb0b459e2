"""PBKDF2 with HMAC (RFC 8018, section 5.2)."""

from __future__ import annotations

import hashlib

from inkgate.rules.crypto.profiles import STRETCHED_BYTES, Pbkdf2


class Pbkdf2Kdf:
    """Runs a profile of PBKDF2.

    Args:
        profile: its hash and cost.
    """

    def __init__(self, profile: Pbkdf2) -> None:
        self._profile = profile

    def stretch(self, password: bytes, salt: bytes) -> bytes:
        """Derive 32 bytes from a 32-byte password and a 16-byte salt."""
        profile = self._profile
        return hashlib.pbkdf2_hmac(
            profile.hash, password, salt, profile.iterations, STRETCHED_BYTES
        )
