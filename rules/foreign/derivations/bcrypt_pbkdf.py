"""The thesis's module bcrypt: bcrypt_pbkdf(3) over a hash of value and token.

Its rounds count linearly (each is 128 bcrypt hashes), not as powers of two like the
cost in a bcrypt password hash.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Final

from inkgate.config.extras import need
from inkgate.rules.crypto.profiles import Caps
from inkgate.rules.foreign.derivations.pbkdf2 import has_ip_letters
from inkgate.rules.foreign.ini import Ini
from inkgate.rules.foreign.rule import KeyDerivation, RuleFormat, SealedRule

_CAP: Final = "[rules.caps] bcrypt_rounds in inkgate.toml if you trust it"
_PURPOSE: Final = "a rule set of the thesis's module bcrypt"
_LENGTH: Final = 32
_ADDRESSES: Final = frozenset((("ip-dst",), ("ip-src",), ("ip-src", "port"), ("ip-dst", "port")))


@dataclass(frozen=True)
class BcryptKey:
    """bcrypt_pbkdf with a number of rounds."""

    rounds: int
    token: bytes = field(repr=False)

    def describe(self) -> str:
        """See `KeyDerivation`."""
        return f"bcrypt_pbkdf, {self.rounds:,} rounds"

    def key(self, password: bytes, rule: SealedRule) -> bytes:
        """See `KeyDerivation`."""
        # Imported here: rule sets of other formats do not need it.
        derived: bytes = need("match", "bcrypt", _PURPOSE).kdf(
            hashlib.sha256(password + self.token).digest(),
            rule.salt,
            _LENGTH,
            self.rounds,
            ignore_few_rounds=True,
        )
        return derived


@dataclass(frozen=True)
class BcryptFormat:
    """Two costs, by the rule's attribute types."""

    usual: BcryptKey
    for_addresses: BcryptKey

    def derivations(self, attributes: tuple[str, ...]) -> tuple[KeyDerivation, ...]:
        """See `RuleFormat`. Versions of the thesis's code differ on types with "ip" in them."""
        if attributes in _ADDRESSES or self.usual == self.for_addresses:
            return (self.for_addresses,)
        return (self.usual, self.for_addresses) if has_ip_letters(attributes) else (self.usual,)


def bcrypt_format(metadata: Ini, token: bytes, caps: Caps) -> RuleFormat:
    """Read section [crypto] of a set's metadata.

    Raises:
        ForeignError: a value is missing, wrong or above the caps.
    """
    usual, for_addresses = (
        BcryptKey(metadata.number("crypto", key, caps.bcrypt_rounds, _CAP), token)
        for key in ("round", "ipround")
    )
    return BcryptFormat(usual, for_addresses)
