"""Canonical forms of everything else (docs/format.md, section 2.5)."""

from __future__ import annotations

import re
from typing import Final

from inkgate.rules.canonical.refused import Refused

_MAX_PORT: Final = 65_535
_MAX_AS: Final = 2**32 - 1


def canonical_text(text: str) -> str:
    """A value without the white space around it.

    Raises:
        Refused: it is empty.
    """
    text = text.strip()
    if not text:
        raise Refused("empty")
    return text


def lower_text(text: str) -> str:
    """The same in lower case.

    Raises:
        Refused: it is empty.
    """
    return canonical_text(text).lower()


def upper_text(text: str) -> str:
    """The same in upper case.

    Raises:
        Refused: it is empty.
    """
    # Twice: "ß".upper() is "SS", and a canonical form is a fixed point.
    return canonical_text(text).upper().upper()


def as_number(text: str) -> str:
    """The number of an autonomous system, without `AS`.

    Raises:
        Refused: it is none.
    """
    return _number(
        re.sub(r"^[Aa][Ss][Nn]?\s*", "", canonical_text(text)), _MAX_AS, "not an AS number"
    )


def port_number(text: str) -> str:
    """The number of a port.

    Raises:
        Refused: it is none.
    """
    return _number(canonical_text(text), _MAX_PORT, "not a port")


def _number(text: str, most: int, reason: str) -> str:
    if not (text.isascii() and text.isdigit() and len(text) <= 20 and int(text) <= most):
        raise Refused(reason)
    return str(int(text))
