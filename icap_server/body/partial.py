"""Whether a body is less than a whole file, or a stream without an end, by its head."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

from inkgate.icap_server.protocol.fields import http_fields
from inkgate.icap_server.protocol.http import HttpResponse

_PARTIAL: Final = 206
_TOTAL: Final = re.compile(rb"/([0-9]{1,18})$")
_RANGE: Final = re.compile(rb"bytes[ \t]+0-([0-9]{1,18})/([0-9]{1,18})", re.IGNORECASE)


def is_part(status: int, block: bytes) -> bool:
    """Whether a response says that its body is less than a whole file.

    A 206 may carry all of it (RFC 9110, section 15.3.7).

    Args:
        status: the response's status.
        block: the response's head.
    """
    if status != _PARTIAL:
        return False
    found = [_RANGE.fullmatch(value) for value in _values(block, b"content-range")]
    return len(found) != 1 or found[0] is None or int(found[0][1]) + 1 != int(found[0][2])


def asks_for_part(block: bytes) -> bool:
    """Whether a request's head has a Range."""
    return bool(_values(block, b"range"))


def validators(response: HttpResponse, block: bytes, length: int) -> tuple[bytes, ...]:
    """What tells a file from others of its site, so that a part of it is known again.

    Its strong ETag, and when it was last modified with how long the whole of it is.

    Args:
        response: the response's head, read.
        block: the same as it was sent.
        length: bytes of a whole body; of a part its head tells how many the whole has.
    """
    total = b"%d" % length
    if response.status == _PARTIAL:
        found = _TOTAL.search(b",".join(_values(block, b"content-range")))
        total = found[1] if found else b""
    tags = [value for value in _values(block, b"etag") if value.startswith(b'"')]
    dates = _values(block, b"last-modified")
    return (
        *(b"etag " + tag for tag in tags[:1]),
        *(b"%b bytes of %b" % (total, date) for date in dates[:1] if total),
    )


def is_endless(response: HttpResponse, block: bytes, media_types: Collection[str]) -> bool:
    """Whether a response is one that a user watches while it comes, and no file.

    Args:
        response: the response's head, read.
        block: the same as it was sent.
        media_types: what comes without an end, in lower case.
    """
    if response.length is not None or response.dispositions:
        return False
    told = {_media_type(value) for value in _values(block, b"content-type")}
    return bool(told) and told <= set(media_types)


def _media_type(value: bytes) -> str:
    return value.partition(b";")[0].strip(b" \t").lower().decode("latin-1")


def _values(block: bytes, wanted: bytes) -> list[bytes]:
    return [value for name, value in http_fields(block) if name == wanted]
