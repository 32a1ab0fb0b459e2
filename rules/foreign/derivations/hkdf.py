"""HKDF (RFC 5869): the paper's, and the module hkdf that pypraware added to the thesis's."""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from inkgate.rules.foreign.rule import KeyDerivation, RuleFormat, SealedRule

_HASHES = {
    algorithm.name: algorithm
    for algorithm in (
        hashes.SHA1(),  # noqa: S303 (chosen by the other tool; SHA-1 in HMAC is not broken)
        hashes.SHA224(),
        hashes.SHA256(),
        hashes.SHA384(),
        hashes.SHA512(),
    )
}


@dataclass(frozen=True)
class HkdfKey:
    """No stretching. The info is the rule's own, or a token for all rules."""

    hash_name: str
    length: int
    token: bytes = field(default=b"", repr=False)

    def describe(self) -> str:
        """See `KeyDerivation`."""
        return f"HKDF-{self.hash_name.upper()}"

    def key(self, password: bytes, rule: SealedRule) -> bytes:
        """See `KeyDerivation`."""
        prk = hmac.digest(rule.salt, password, self.hash_name)
        info = self.token or rule.info
        return HKDFExpand(_HASHES[self.hash_name], self.length, info).derive(prk)


@dataclass(frozen=True)
class HkdfFormat:
    """One derivation for all rules; the metadata have no parameters."""

    only: HkdfKey

    def derivations(self, _attributes: tuple[str, ...]) -> tuple[KeyDerivation, ...]:
        """See `RuleFormat`."""
        return (self.only,)


def hkdf_format(token: bytes) -> RuleFormat:
    """The thesis's module: SHA-256, 32 bytes, the token as info."""
    return HkdfFormat(HkdfKey("sha256", 32, token))
