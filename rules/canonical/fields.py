"""Length-prefixed fields (docs/format.md, section 1): no two lists give the same bytes."""

from __future__ import annotations


def length_prefixed(*fields: bytes) -> bytes:
    """LP(field, field, …): each field after its length as an unsigned 32-bit integer."""
    return b"".join(len(field).to_bytes(4) + field for field in fields)


def fields_of(data: bytes) -> list[bytes]:
    """The fields that `length_prefixed` put together."""
    found: list[bytes] = []
    while data:
        end = 4 + int.from_bytes(data[:4])
        found.append(data[4:end])
        data = data[end:]
    return found
