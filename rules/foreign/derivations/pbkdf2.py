"""PBKDF2 (RFC 8018, section 5.2) as the thesis uses it, and the paper with an empty token."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Final

from inkgate.rules.crypto.profiles import Caps
from inkgate.rules.foreign.ini import Ini
from inkgate.rules.foreign.rule import KeyDerivation, RuleFormat, SealedRule

CAP: Final = "[rules.caps] pbkdf2_iterations in inkgate.toml if you trust it"


@dataclass(frozen=True)
class Pbkdf2Key:
    """The password is the value with the token behind it."""

    hash_name: str
    iterations: int
    length: int
    token: bytes = field(repr=False)

    def describe(self) -> str:
        """See `KeyDerivation`."""
        return f"PBKDF2-{self.hash_name.upper()}, {self.iterations:,} iterations"

    def key(self, password: bytes, rule: SealedRule) -> bytes:
        """See `KeyDerivation`."""
        return hashlib.pbkdf2_hmac(
            self.hash_name, password + self.token, rule.salt, self.iterations, self.length
        )


@dataclass(frozen=True)
class Pbkdf2Format:
    """Two costs, by the rule's attribute types."""

    usual: Pbkdf2Key
    with_ip: Pbkdf2Key

    def derivations(self, attributes: tuple[str, ...]) -> tuple[KeyDerivation, ...]:
        """See `RuleFormat`."""
        return (self.with_ip if has_ip_letters(attributes) else self.usual,)


def has_ip_letters(attributes: tuple[str, ...]) -> bool:
    """Whether the thesis charges the cost for addresses: also for `email-recipient`."""
    return any("ip" in name for name in attributes)


def pbkdf2_format(metadata: Ini, token: bytes, caps: Caps) -> RuleFormat:
    """Read section [crypto] of a set's metadata.

    Raises:
        ForeignError: a value is missing, wrong or above the caps.
    """
    hash_name = metadata.hash_name("crypto")
    length = metadata.key_length("crypto")
    usual, with_ip = (
        Pbkdf2Key(
            hash_name, metadata.number("crypto", key, caps.pbkdf2_iterations, CAP), length, token
        )
        for key in ("iterations", "ipiterations")
    )
    return Pbkdf2Format(usual, with_ip)
