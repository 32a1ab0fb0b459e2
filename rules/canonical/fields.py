"""Length-prefixed fields (docs/format.md, section 1): no two lists give the same bytes."""

from __future__ import annotations


def length_prefixed(*fields: bytes) -> bytes:
    """LP(field, field, …): each field after its length as an unsigned 32-bit integer."""
    return b"".join(len(field).to_bytes(4) + field for field in fields)
