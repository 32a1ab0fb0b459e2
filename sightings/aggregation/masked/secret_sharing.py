"""Shamir's secret sharing of 32-byte secrets, as two halves in GF(2^128) (PyCryptodome)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from inkgate.sightings.aggregation.optional import need

SECRET_BYTES: Final = 32
_HALF: Final = 16


def split_secret(secret: bytes, threshold: int, holders: int) -> list[bytes]:
    """Shares of 32 bytes for holders 1, 2, … (in this order)."""
    shamir = need("Crypto.Protocol.SecretSharing").Shamir
    halves = (secret[:_HALF], secret[_HALF:])
    low, high = ([s for _, s in shamir.split(threshold, holders, half)] for half in halves)
    return [a + b for a, b in zip(low, high, strict=True)]


def combine_shares(shares: Mapping[int, bytes]) -> bytes:
    """The secret from exactly as many shares as the threshold; wrong shares give another one."""
    shamir = need("Crypto.Protocol.SecretSharing").Shamir
    low = shamir.combine([(n, share[:_HALF]) for n, share in shares.items()])
    high = shamir.combine([(n, share[_HALF:]) for n, share in shares.items()])
    return bytes(low) + bytes(high)
