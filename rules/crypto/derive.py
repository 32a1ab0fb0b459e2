"""From a value to its keys (docs/format.md, sections 3 and 4): one slow step, then cheap ones."""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Iterator, Mapping

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from inkgate.rules.canonical.fields import length_prefixed
from inkgate.rules.canonical.refused import MAX_VALUE_BYTES
from inkgate.rules.crypto.kdf.registry import kdf_of
from inkgate.rules.crypto.profiles import Profile
from inkgate.rules.crypto.weak_token import MIN_TOKEN_BYTES

_SHA256 = SHA256()
_TOKEN_CHECK = length_prefixed(b"inkgate/v1 token check")
_RULE = length_prefixed(b"inkgate/v1 rule")
_GATE = length_prefixed(b"inkgate/v1 gate")

Unstretched = tuple[str, bytes]
"""Kind and canonical value: what a derivation stretches."""


def expand(key: bytes, info: bytes, length: int) -> bytes:
    """HKDF-Expand with SHA-256 (RFC 5869, section 2.3)."""
    return HKDFExpand(_SHA256, length, info).derive(key)


def derive_set_key(token: bytes, set_salt: bytes) -> bytes:
    """HKDF-Extract (RFC 5869, section 2.2) of the token under the set's salt.

    Raises:
        ValueError: the token is shorter than 16 bytes.
    """
    if len(token) < MIN_TOKEN_BYTES:
        raise ValueError(f"a token has at least {MIN_TOKEN_BYTES} bytes")
    return hmac.digest(set_salt, token, "sha256")


def token_check(set_key: bytes) -> bytes:
    """The 16 bytes by which a subscriber sees that a set was sealed for its token."""
    return expand(set_key, _TOKEN_CHECK, 16)


class Deriver:
    """Stretches values of one rule set.

    Args:
        set_key: 32 bytes from `derive_set_key`.
        profiles: the KDF profile of each kind.
    """

    def __init__(self, set_key: bytes, profiles: Mapping[str, Profile]) -> None:
        self._set_key = set_key
        self._kinds = {
            kind: (kdf_of(profile).stretch, _salt(set_key, kind), length_prefixed(kind.encode()))
            for kind, profile in profiles.items()
        }

    def stretch(self, kind: str, data: bytes) -> bytes:
        """Derive the 32 stretched bytes of one canonical value. Slow by design.

        Raises:
            ValueError: it is longer than any value that can be listed.
        """
        if len(data) > MAX_VALUE_BYTES:
            raise ValueError(f"a value has at most {MAX_VALUE_BYTES} bytes")
        stretch, salt, prefix = self._kinds[kind]
        message = b"%b%b%b" % (prefix, len(data).to_bytes(4), data)
        password = hmac.digest(self._set_key, message, "sha256")
        return stretch(password, salt)

    def stretch_many(self, values: Iterable[Unstretched]) -> Iterator[bytes]:
        """Derive a group of values, in order, each when it is asked for.

        Callers that have several values hand them over together, because a derivation may
        be a request to another machine, where a round trip a value would be too many.
        """
        return (self.stretch(kind, data) for kind, data in values)


def _salt(set_key: bytes, kind: str) -> bytes:
    return expand(set_key, length_prefixed(b"inkgate/v1 salt", kind.encode()), 16)


def rule_info(indicator_class: str) -> bytes:
    """The HKDF info of a class's rules; callers on the hot path keep it."""
    return _RULE + length_prefixed(indicator_class.encode())


def gate_info(level: str) -> bytes:
    """The HKDF info of a gate's level."""
    return _GATE + length_prefixed(level.encode())


def rule_keys(stretched: bytes, info: bytes) -> tuple[bytes, bytes]:
    """Tag and key (32 bytes each) of the rule that this value would have in a class."""
    both = expand(stretched, info, 64)
    return both[:32], both[32:]


def gate_number(stretched: bytes, info: bytes) -> int:
    """A 64-bit number whose remainder modulo a gate's size is the value's bit."""
    return int.from_bytes(expand(stretched, info, 8))
