"""Canonical forms of digests (docs/format.md, section 2.4)."""

from __future__ import annotations

import re
from typing import Final

from inkgate.rules.canonical.refused import Refused

_HEX: Final = re.compile(r"[0-9a-f]+", re.ASCII)


def canonical_digest(text: str, lengths: tuple[int, ...], name: str) -> str:
    """A digest in lower-case hexadecimal.

    Args:
        text: the digest; colons between its bytes are left out.
        lengths: how many hexadecimal digits it may have.
        name: of the type, for the reason.

    Raises:
        Refused: it is not hexadecimal of the type's length.
    """
    digest = text.strip().replace(":", "").lower()
    if len(digest) not in lengths or not _HEX.fullmatch(digest):
        raise Refused(f"not a {name} digest")
    return digest
