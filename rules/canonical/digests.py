"""Canonical forms of digests (docs/format.md, section 2.4)."""

from __future__ import annotations

import re
from typing import Final

from inkgate.rules.canonical.refused import Refused

_HEX: Final = re.compile(r"[0-9a-f]+", re.ASCII)

# Hexadecimal digits of each MISP type that is a plain hash.
DIGEST_LENGTHS: Final[dict[str, tuple[int, ...]]] = {
    "md5": (32,),
    "sha1": (40,),
    "sha224": (56,),
    "sha256": (64,),
    "sha384": (96,),
    "sha512": (128,),
    "sha512/224": (56,),
    "sha512/256": (64,),
    "sha3-224": (56,),
    "sha3-256": (64,),
    "sha3-384": (96,),
    "sha3-512": (128,),
    "authentihash": (64,),
    "cdhash": (40, 64),
    "git-commit-id": (40, 64),
    "hassh-md5": (32,),
    "hasshserver-md5": (32,),
    "imphash": (32,),
    "ja3-fingerprint-md5": (32,),
    "pehash": (40,),
    "telfhash": (70, 72),
    "x509-fingerprint-md5": (32,),
    "x509-fingerprint-sha1": (40,),
    "x509-fingerprint-sha256": (64,),
}


def canonical_digest(misp_type: str, text: str) -> str:
    """A digest in lower-case hexadecimal.

    Raises:
        Refused: it is not hexadecimal of the type's length.
    """
    digest = text.strip().replace(":", "").lower()
    if len(digest) not in DIGEST_LENGTHS[misp_type] or not _HEX.fullmatch(digest):
        raise Refused(f"not a {misp_type} digest")
    return digest
