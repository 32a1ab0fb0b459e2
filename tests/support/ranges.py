"""Parts of a file, as servers send them (RFC 9110, section 14)."""

from __future__ import annotations

import re
from typing import Final

_BOUNDARY: Final = "a-part-of-a-file"
_ONE: Final = re.compile(r"(\d*)-(\d*)")


def part_of(body: bytes, asked: str) -> tuple[int, dict[str, str], bytes] | None:
    """Status, fields and body of the answer to a Range; None if it does not count.

    Args:
        body: the whole file.
        asked: the value of the field.
    """
    unit, _, text = asked.partition("=")
    if unit.strip() != "bytes":
        return None
    parts = []
    for one in text.split(","):
        found = _ONE.fullmatch(one.strip())
        if found is None or found[0] == "-":
            return None
        first, last = _bounds(found[1], found[2], len(body))
        if first > last:
            return 416, {"Content-Range": f"bytes */{len(body)}"}, b""
        parts.append((first, last))
    if len(parts) == 1:
        ((first, last),) = parts
        return 206, {"Content-Range": f"bytes {first}-{last}/{len(body)}"}, body[first : last + 1]
    pieces = b"".join(
        f"--{_BOUNDARY}\r\nContent-Type: application/octet-stream\r\n"
        f"Content-Range: bytes {first}-{last}/{len(body)}\r\n\r\n".encode()
        + body[first : last + 1]
        + b"\r\n"
        for first, last in parts
    )
    fields = {"Content-Type": f"multipart/byteranges; boundary={_BOUNDARY}"}
    return 206, fields, pieces + f"--{_BOUNDARY}--\r\n".encode()


def joined(multipart: bytes) -> bytes:
    """What the parts of such a body are together."""
    pieces = multipart.split(f"--{_BOUNDARY}".encode())[1:-1]
    return b"".join(piece.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n") for piece in pieces)


def _bounds(first: str, last: str, length: int) -> tuple[int, int]:
    if not first:
        return max(0, length - int(last)), length - 1
    return int(first), min(int(last) if last else length - 1, length - 1)
