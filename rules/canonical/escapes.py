"""Percent-escapes (RFC 3986, section 2.1), undone until nothing changes."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote_to_bytes

_ESCAPE: Final = re.compile(rb"%[0-9A-Fa-f]{2}")
# Each round undoes one layer. A value of 8 KiB can hold thousands of layers, each
# round costing its length, so the bytes looked at in all are bounded instead.
_MAX_WORK: Final = 1 << 22


def unescape(data: bytes) -> bytes:
    """Undo all layers of percent-escapes.

    `%25` in front of two hexadecimal digits is undone from the innermost layer in one
    step, since a run of `25` after a `%` is that many layers of the same escape.
    """
    work = 0
    while _ESCAPE.search(data) and work < _MAX_WORK:
        data = unquote_to_bytes(re.sub(rb"%(?:25)+(?=[0-9A-Fa-f]{2})", b"%", data))
        work += len(data)
    return data


def escape(data: bytes, also: bytes) -> bytes:
    """Escape bytes up to 0x20, from 0x7F, `% # \\` and those of `also`, in upper case."""
    if _plain(also).fullmatch(data):
        return data
    return b"".join(_TABLES[also][byte] for byte in data)


def _table(also: bytes) -> list[bytes]:
    special = b"%#\\" + also
    return [
        b"%%%02X" % byte if byte <= 0x20 or byte >= 0x7F or byte in special else bytes((byte,))
        for byte in range(256)
    ]


_TABLES: Final = {also: _table(also) for also in (b"", b"?")}
_PLAIN: Final = {
    also: re.compile(b"[" + re.escape(b"".join(c for c in table if len(c) == 1)) + b"]*")
    for also, table in _TABLES.items()
}


def _plain(also: bytes) -> re.Pattern[bytes]:
    return _PLAIN[also]
