"""Canonical forms of everything else (docs/format.md, section 2.5)."""

from __future__ import annotations

import re
from typing import Final

from inkgate.rules.canonical.refused import Refused

_LOWER: Final = frozenset(
    [
        "email",
        "email-src",
        "email-dst",
        "email-reply-to",
        "target-email",
        "whois-registrant-email",
        "dns-soa-email",
        "eppn",
        "jabber-id",
        "mac-address",
        "mac-eui-64",
    ]
)
_UPPER: Final = frozenset(("hex", "vulnerability", "weakness"))
MAX_PORT: Final = 65_535


def canonical_text(misp_type: str, text: str) -> str:
    """A value without the white space around it, in its type's one spelling.

    Raises:
        Refused: it is empty, or not of its type.
    """
    text = text.strip()
    if not text:
        raise Refused("empty")
    if misp_type in _LOWER:
        return text.lower()
    if misp_type in _UPPER:
        # Twice: "ß".upper() is "SS", and a canonical form is a fixed point.
        return text.upper().upper()
    if misp_type == "AS":
        return _number(re.sub(r"(?i)^asn?\s*", "", text), 2**32 - 1, "not an AS number")
    if misp_type == "port":
        return _number(text, MAX_PORT, "not a port")
    return text


def _number(text: str, most: int, reason: str) -> str:
    if not (text.isascii() and text.isdigit() and len(text) <= 20 and int(text) <= most):
        raise Refused(reason)
    return str(int(text))
