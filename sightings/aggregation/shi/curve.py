"""The prime-order group secp256k1 (SEC 2), from libsecp256k1 through coincurve.

A point is written uncompressed (SEC 1): 4, x, y. The library refuses coordinates that are not
reduced or not on the curve, so every point has one encoding. The identity has none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Final

from inkgate.rules.canonical.fields import length_prefixed
from inkgate.sightings.aggregation.optional import need

ORDER: Final = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
POINT_BYTES: Final = 65
SCALAR_BYTES: Final = 32
UNCOMPRESSED: Final = b"\x04"
_DOMAIN: Final = b"inkgate/v1 aggregation shi"

Point = Any


def hash_to_point(session: bytes, label: bytes) -> Point:
    """The public point of an indicator in a session, whose logarithm nobody knows.

    Try-and-increment: the first counter whose SHA-512 begins with the x of a point. Its time
    depends on the input, which is public.
    """
    public_key = need("coincurve").PublicKey
    seed = hashlib.sha512(length_prefixed(_DOMAIN, session, label))
    counter = 0
    while True:
        attempt = seed.copy()
        attempt.update(counter.to_bytes(4))
        digest = attempt.digest()
        try:
            return public_key(bytes([2 + (digest[32] & 1)]) + digest[:32])
        except ValueError:
            counter += 1


def encode_point(point: Point) -> bytes:
    """65 bytes: 4, x, y."""
    encoded: bytes = point.format(False)
    return encoded


def scalar(number: int) -> bytes:
    """A number modulo the group's order, 32 bytes big-endian."""
    return (number % ORDER).to_bytes(SCALAR_BYTES)


def add_points(points: Sequence[Point]) -> Point | None:
    """Their sum; None for the identity."""
    try:
        return need("coincurve").PublicKey.combine_keys(points)
    except ValueError:
        return None


def base_times(number: int) -> Point:
    """A multiple of the base point; the number is not 0 modulo the order."""
    return need("coincurve").PublicKey.from_secret(scalar(number))
