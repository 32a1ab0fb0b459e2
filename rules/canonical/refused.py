"""Why a value has no canonical form."""

from __future__ import annotations

from typing import Final

MAX_VALUE_BYTES: Final = 8192


class Refused(ValueError):  # noqa: N818 (it is a verdict on a value, said so in messages)
    """A value cannot be canonicalised.

    Attributes:
        reason: a fixed phrase. Never holds the value: indicators are secrets.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def check_size(text: str) -> None:
    """Refuse what is too long to look at, or not text at all.

    Raises:
        Refused: over 8,192 bytes of UTF-8.
    """
    if 4 * len(text) <= MAX_VALUE_BYTES:
        return
    if len(text) > MAX_VALUE_BYTES or len(text.encode("utf-8", "surrogatepass")) > MAX_VALUE_BYTES:
        raise Refused("longer than 8192 bytes")
