"""Incident ids: what a user reads out to the help desk."""

from __future__ import annotations

import os
from typing import Final

# Crockford's base 32. It has no I, L, O and U, which are easily confused on the telephone.
_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_CHARACTERS: Final = 10


def new_incident() -> str:
    """A new id such as `IG-7K3M9QXD2F`: 50 random bits, ASCII."""
    bits = int.from_bytes(os.urandom(7))
    return "IG-" + "".join(_ALPHABET[bits >> 5 * i & 31] for i in range(_CHARACTERS))
