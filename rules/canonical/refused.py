"""Why a value has no canonical form."""

from __future__ import annotations

import re
from typing import Final

MAX_VALUE_BYTES: Final = 8192
_ESCAPED_BYTE: Final = re.compile("[\udc80-\udcff]")


class Refused(ValueError):  # noqa: N818 (it is a verdict on a value, said so in messages)
    """A value cannot be canonicalised.

    Attributes:
        reason: a fixed phrase. Never holds the value: indicators are secrets.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def check_size(text: str, limit: int = MAX_VALUE_BYTES) -> None:
    """Refuse what is too long to look at.

    Bytes that were not UTF-8 count as what they are, one each (os.fsencode's surrogates).

    Raises:
        Refused: over `limit` bytes of UTF-8, by default 8,192.
    """
    if len(text) > limit or (len(text) * 4 > limit and _size(text) > limit):
        raise Refused(f"longer than {limit} bytes")


def _size(text: str) -> int:
    try:
        return len(text.encode("utf-8", "surrogateescape"))
    except UnicodeEncodeError:
        # Half characters of another origin: JSON can hold them.
        return len(text.encode("utf-8", "surrogatepass")) - 2 * len(_ESCAPED_BYTE.findall(text))
