"""Sealing a message under a rule's key, and opening it (docs/format.md, section 4)."""

from __future__ import annotations

import os
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from inkgate.rules.canonical.fields import length_prefixed
from inkgate.rules.errors import PackError

NONCE_BYTES: Final = 12
TAG_BYTES: Final = 32
AUTHENTICATOR_BYTES: Final = 16
_TAG_LENGTH: Final = TAG_BYTES.to_bytes(4)


class Rule(NamedTuple):
    """One sealed rule: 32-byte tag, 12-byte nonce, ciphertext with its authenticator."""

    tag: bytes
    nonce: bytes
    ciphertext: bytes


def rule_aad(set_id: bytes, indicator_class: str) -> bytes:
    """The part of the associated data that all rules of a class share."""
    return length_prefixed(set_id, indicator_class.encode())


def seal(tag: bytes, key: bytes, aad: bytes, padded: bytes) -> Rule:
    """Seal a padded message. `aad` comes from `rule_aad`."""
    nonce = os.urandom(NONCE_BYTES)
    sealed = ChaCha20Poly1305(key).encrypt(nonce, padded, aad + _TAG_LENGTH + tag)
    return Rule(tag, nonce, sealed)


def unseal(rule: Rule, key: bytes, aad: bytes) -> bytes:
    """Open a rule and return its padded message.

    Raises:
        PackError: `bad-rules`; the tag was right, so the rule itself is damaged.
    """
    try:
        return ChaCha20Poly1305(key).decrypt(
            rule.nonce, rule.ciphertext, aad + length_prefixed(rule.tag)
        )
    except (InvalidTag, ValueError):
        raise PackError(
            "bad-rules", "a rule with a known tag does not open", "refresh the rule set"
        ) from None
