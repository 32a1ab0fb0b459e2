"""A foreign rule: a salt of its own, AES in counter mode, a first block of zeros as the check."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR

from inkgate.rules.foreign.bloom_filter import TokenFilter
from inkgate.rules.foreign.errors import Unread

BLOCK: Final = 16
MAX_RULES: Final = 1_000_000
MAX_SALT: Final = 1024
MAX_ATTRIBUTES: Final = 8

Values = Mapping[str, str]
# All spellings that a tool may have used for the observed values.
Spellings = Callable[[Values], list[Values]]


class KeyDerivation(Protocol):
    """From a value to an AES key; hashable, since rules of one cost are grouped by it."""

    def describe(self) -> str:
        """Algorithm and cost, in words."""

    def key(self, password: bytes, rule: SealedRule) -> bytes:
        """The key that opens a rule, if the password is right."""


class RuleFormat(Protocol):
    """What a rule set's metadata says about its keys."""

    def derivations(self, attributes: tuple[str, ...]) -> tuple[KeyDerivation, ...]:
        """The derivations to try on a rule with these attributes; nearly always one."""


@dataclass(frozen=True, slots=True)
class SealedRule:
    """One rule.

    Attributes:
        attributes: what must have been observed, in this order.
        nonce: 16 bytes, the counter's first value.
        check: 16 zero bytes, encrypted.
        place: file and line of the rule, for instance `domain.tsv:7`.
        info: a further input of the derivation.
    """

    attributes: tuple[str, ...]
    salt: bytes
    nonce: bytes
    check: bytes
    ciphertext: bytes
    derivations: tuple[KeyDerivation, ...]
    place: str
    info: bytes = b""


@dataclass(frozen=True)
class ForeignRules:
    """A rule set, whatever tool it came from.

    Attributes:
        name: the format, in words.
        filter: a Bloom filter that a password must pass; if there are no rules, all there is.
        ignored: names of files that are not part of the format.
        unread: rules that are in the format and cannot be used.
    """

    name: str
    where: Path
    separator: str
    rules: tuple[SealedRule, ...]
    spellings: Spellings
    filter: TokenFilter | None = None
    ignored: tuple[str, ...] = ()
    unread: Unread = field(default_factory=Unread)


def opened(rule: SealedRule, key: bytes) -> bytes | None:
    """The message, or None if the key is not the key of this rule."""
    stream = Cipher(AES(key), CTR(rule.nonce)).decryptor()
    if stream.update(rule.check) != bytes(BLOCK):
        return None
    return stream.update(rule.ciphertext)
