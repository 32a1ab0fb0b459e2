"""Percent-escapes (RFC 3986, section 2.1), undone until nothing changes."""

from __future__ import annotations

import re
import string
from itertools import product
from typing import Final

_ESCAPE: Final = re.compile(rb"%([0-9A-Fa-f]{2})")
_HEX: Final = string.hexdigits.encode()
_BYTES: Final = {bytes(two): bytes.fromhex(bytes(two).decode()) for two in product(_HEX, _HEX)}
_NO_DIGIT: Final = 16
_DIGITS: Final = [int(chr(b), 16) if chr(b) in string.hexdigits else _NO_DIGIT for b in range(256)]
_PERCENT: Final = 0x25


def unescape(data: bytes) -> bytes:
    """Undo all layers of percent-escapes, in time linear in the length.

    No escape is part of another one, and each that is undone shortens the value. So what is
    left does not depend on the order, and the many layers of a value that was made to take long
    are undone in one pass.
    """
    # Nearly all have one layer, which this does many times faster.
    data = unescape_once(data)
    return _unescaped_in_one_pass(data) if _ESCAPE.search(data) else data


def unescape_once(data: bytes) -> bytes:
    """Undo the outermost layer of percent-escapes.

    As urllib.parse.unquote_to_bytes does, which takes 50 times as long for many `%` that begin
    no escape.
    """
    if b"%" not in data:
        return data
    parts = _ESCAPE.split(data)
    parts[1::2] = map(_BYTES.__getitem__, parts[1::2])
    return b"".join(parts)


def _unescaped_in_one_pass(data: bytes) -> bytes:
    """Whenever the last three bytes are an escape they become the byte that they stand for.

    That may be the last digit of the escape before, or the `%` of the next one.
    """
    digits = _DIGITS
    # Two bytes in front, which are no escape's, so that there are always two.
    done = [0, 0]
    append, pop = done.append, done.pop
    first = data.find(b"%")
    for byte in data[first:]:
        while (
            (low := digits[byte]) < _NO_DIGIT
            and done[-2] == _PERCENT
            and (high := digits[done[-1]]) < _NO_DIGIT
        ):
            byte = 16 * high + low  # noqa: PLW2901 (it may end the next escape)
            pop()
            pop()
        append(byte)
    return data[:first] + bytes(done[2:])


def escape(data: bytes, also: bytes) -> bytes:
    """Escape bytes up to 0x20, from 0x7F, `% # \\` and those of `also`, in upper case."""
    if is_plain(data, also):
        return data
    return b"".join(map(_TABLES[also].__getitem__, data))


def is_plain(data: bytes, also: bytes) -> bool:
    """Whether there is no escape in it, and nothing to escape."""
    return _PLAIN[also].fullmatch(data) is not None


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
