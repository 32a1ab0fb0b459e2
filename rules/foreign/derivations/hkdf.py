"""HKDF (RFC 5869): the paper's, and the module hkdf that pypraware added to the thesis's."""

from __future__ import annotations

import hmac
import itertools
from dataclasses import dataclass, field

from inkgate.rules.foreign.rule import KeyDerivation, RuleFormat, SealedRule


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
        return _expanded(prk, self.token or rule.info, self.length, self.hash_name)


def _expanded(prk: bytes, info: bytes, length: int, hash_name: str) -> bytes:
    """HKDF-Expand for any hash function of hashlib; the paper's tool takes them all."""
    out = block = b""
    for number in itertools.count(1):
        block = hmac.digest(prk, block + info + bytes((number,)), hash_name)
        out += block
        if len(out) >= length:
            break
    return out[:length]


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
