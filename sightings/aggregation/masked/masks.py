"""Keys and masks of the protocol `masked`; docs/format.md, section 10.6."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from inkgate.rules.canonical.fields import length_prefixed
from inkgate.sightings.aggregation.errors import AggregationError

KEY_BYTES: Final = 32
SEALED_BYTES: Final = 2 * KEY_BYTES + 16
_NONCE: Final = bytes(12)  # constant, since each key encrypts one message only
_PRIME: Final = 2**255 - 19


class Secrets:
    """What a subscriber draws for one session, all from 32 random bytes.

    Attributes:
        mask_key: the X25519 secret behind the pairwise masks, raw.
        channel_key: the X25519 secret that shares are encrypted with, raw.
        self_mask: the seed of the mask that hides an input even when the pairwise masks are known.
    """

    def __init__(self, session: bytes, secret: bytes) -> None:
        self.mask_key = _hkdf(secret, session, b"mask key")
        self.channel_key = _hkdf(secret, session, b"channel key")
        self.self_mask = _hkdf(secret, session, b"self mask")
        self._unmask = _hkdf(secret, session, b"unmask")

    def ephemeral(self, body: bytes) -> bytes:
        """The X25519 secret that seals one body and no other."""
        return _hkdf(self._unmask, hashlib.sha256(body).digest(), b"unmask ephemeral")

    @property
    def public(self) -> bytes:
        """Both public keys: channel, then mask."""
        return public_of(self.channel_key) + public_of(self.mask_key)


def public_of(key: bytes) -> bytes:
    """The X25519 public key of a raw secret."""
    return X25519PrivateKey.from_private_bytes(key).public_key().public_bytes_raw()


def check_public(key: bytes) -> None:
    """Refuse a key that would make every agreement the same, or is a second writing of one.

    Raises:
        AggregationError: it has low order, or is not reduced (RFC 7748, section 5) (`bad-point`).
    """
    if int.from_bytes(key, "little") >= _PRIME:
        raise AggregationError("bad-point", "an X25519 key is not reduced", "drop the message")
    _agree(bytes(KEY_BYTES), key)


def pair_mask(
    session: bytes, own: bytes, name: str, other: str, keys: Mapping[str, bytes]
) -> bytes:
    """The key of the mask that two subscribers share, and no other two.

    X25519 gives many public keys the same secret (RFC 7748, section 6.1), so the secret alone
    would let a third subscriber have the mask of two others counted twice, that is cancelled.

    Args:
        session: id of the session.
        own: the mask key of `name`, raw.
        name, other: the two.
        keys: public mask keys as they were registered, by name.
    """
    first, second = sorted((name, other))
    bound = length_prefixed(first.encode(), second.encode(), keys[first], keys[second])
    return _hkdf(_agree(own, keys[other]), session, b"pair mask", bound)


def self_mask(session: bytes, seed: bytes) -> bytes:
    """The key of the mask that one subscriber has alone."""
    return _hkdf(seed, session, b"self mask stream")


def commitment(session: bytes, seed: bytes) -> bytes:
    """Shows later that a seed put together from shares is the right one."""
    return _hkdf(seed, session, b"self mask commitment")


def seal_shares(
    session: bytes, own: bytes, theirs: bytes, sender: str, recipient: str, shares: bytes
) -> bytes:
    """Encrypt shares for one recipient."""
    key, names = _channel(session, own, theirs, sender, recipient)
    return ChaCha20Poly1305(key).encrypt(_NONCE, shares, names)


def open_shares(
    session: bytes, own: bytes, theirs: bytes, sender: str, recipient: str, sealed: bytes
) -> bytes | None:
    """The opposite; None if they were not sealed by that sender for that recipient."""
    key, names = _channel(session, own, theirs, sender, recipient)
    try:
        return ChaCha20Poly1305(key).decrypt(_NONCE, sealed, names)
    except InvalidTag:
        return None


def seal_unmask(
    session: bytes, ephemeral: bytes, aggregator: bytes, sender: str, body: bytes
) -> bytes:
    """Encrypt the shares of the last round to the aggregator: public key, then ciphertext.

    Args:
        session: id of the session.
        ephemeral: an X25519 secret that seals nothing else.
        aggregator: its public X25519 key.
        sender: the subscriber's name.
        body: the shares.
    """
    public = public_of(ephemeral)
    bound = length_prefixed(sender.encode(), public, aggregator)
    key = _hkdf(_agree(ephemeral, aggregator), session, b"unmask seal", bound)
    return public + ChaCha20Poly1305(key).encrypt(_NONCE, body, bound)


def open_unmask(session: bytes, own: bytes, sender: str, sealed: bytes) -> bytes:
    """The opposite, with the aggregator's secret.

    Raises:
        AggregationError: it was not sealed by that sender to this aggregator (`bad-message`,
            `bad-point`).
    """
    public, encrypted = sealed[:KEY_BYTES], sealed[KEY_BYTES:]
    try:
        bound = length_prefixed(sender.encode(), public, public_of(own))
        key = _hkdf(_agree(own, public), session, b"unmask seal", bound)
        return ChaCha20Poly1305(key).decrypt(_NONCE, encrypted, bound)
    except InvalidTag:
        raise AggregationError(
            "bad-message", f"{sender} did not seal its shares to this aggregator", "drop it"
        ) from None


def _channel(
    session: bytes, own: bytes, theirs: bytes, sender: str, recipient: str
) -> tuple[bytes, bytes]:
    names = length_prefixed(sender.encode(), recipient.encode())
    return _hkdf(_agree(own, theirs), session, b"channel", names), names


def _agree(own: bytes, theirs: bytes) -> bytes:
    try:
        return X25519PrivateKey.from_private_bytes(own).exchange(
            X25519PublicKey.from_public_bytes(theirs)
        )
    except ValueError:
        raise AggregationError(
            "bad-point", "a subscriber's X25519 key has low order", "leave that subscriber out"
        ) from None


def _hkdf(secret: bytes, session: bytes, purpose: bytes, more: bytes = b"") -> bytes:
    info = length_prefixed(b"inkgate/v1 aggregation masked", purpose, more)
    return HKDF(SHA256(), KEY_BYTES, salt=session, info=info).derive(secret)
