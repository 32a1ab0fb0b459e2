"""The thesis's modules sha256, sha384, sha512: one hash of value, token and salt."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Final

from inkgate.rules.foreign.rule import KeyDerivation, RuleFormat, SealedRule

NAMES: Final = ("sha256", "sha384", "sha512")
# The digests of SHA-384 and SHA-512 are too long for an AES key, and the thesis's code
# fails with them. The first 32 bytes are the most likely correction of that fault
# (docs/decisions/0016).
_AES_256: Final = 32


@dataclass(frozen=True)
class ShaKey:
    """No stretching at all."""

    hash_name: str
    token: bytes = field(repr=False)

    def describe(self) -> str:
        """See `KeyDerivation`."""
        return f"one {self.hash_name.upper()}"

    def key(self, password: bytes, rule: SealedRule) -> bytes:
        """See `KeyDerivation`."""
        return hashlib.new(self.hash_name, password + self.token + rule.salt).digest()[:_AES_256]


@dataclass(frozen=True)
class ShaFormat:
    """One hash for all rules; the metadata have no further parameters."""

    only: ShaKey

    def derivations(self, _attributes: tuple[str, ...]) -> tuple[KeyDerivation, ...]:
        """See `RuleFormat`."""
        return (self.only,)


def sha_format(hash_name: str, token: bytes) -> RuleFormat:
    """The format of a set whose module is called like the hash."""
    return ShaFormat(ShaKey(hash_name, token))
