"""The pseudo-random generator: the ChaCha20 key stream (RFC 8439), read as 64-bit words."""

from __future__ import annotations

from typing import Any, Final

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20

from inkgate.sightings.aggregation.optional import need

_CHUNK: Final = 1 << 15  # in words: small enough for the processor's cache
_ZEROS: Final = bytes(8 * _CHUNK)
_START: Final = bytes(16)


def add_stream(total: Any, key: bytes, *, negative: bool = False) -> None:
    """Add a key's stream to a vector in place, modulo 2^64.

    Args:
        total: a one-dimensional numpy array of uint64.
        key: 32 bytes that are used for nothing else: the stream always starts at zero.
        negative: subtract it.
    """
    numpy = need("numpy")
    combine = numpy.subtract if negative else numpy.add
    stream = Cipher(ChaCha20(key, _START), None).encryptor()
    buffer = bytearray(8 * _CHUNK)
    for start in range(0, len(total), _CHUNK):
        part = total[start : start + _CHUNK]
        stream.update_into(_ZEROS[: 8 * len(part)], buffer)
        combine(part, numpy.frombuffer(buffer, "<u8", len(part)), out=part)


def words(key: bytes, count: int) -> Any:
    """The first words of a key's stream as a numpy array of uint64."""
    numpy = need("numpy")
    vector = numpy.zeros(count, numpy.uint64)
    add_stream(vector, key)
    return vector
