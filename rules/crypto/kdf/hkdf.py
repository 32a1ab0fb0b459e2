"""HKDF (RFC 5869): no stretching."""

from __future__ import annotations

import hmac
from typing import Final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from inkgate.rules.canonical.fields import length_prefixed
from inkgate.rules.crypto.profiles import STRETCHED_BYTES

_SHA256: Final = SHA256()
_STRETCH: Final = length_prefixed(b"inkgate/v1 stretch")


class HkdfKdf:
    """Runs the profile of HKDF, which has no costs to choose."""

    def stretch(self, password: bytes, salt: bytes) -> bytes:
        """Derive 32 bytes from a 32-byte password and a 16-byte salt."""
        prk = hmac.digest(salt, password, "sha256")
        return HKDFExpand(_SHA256, STRETCHED_BYTES, _STRETCH).derive(prk)
