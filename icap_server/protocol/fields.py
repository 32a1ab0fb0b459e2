"""Header fields, of ICAP and of the HTTP messages inside (RFC 2616, section 4.2)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from inkgate.icap_server.protocol.errors import ProtocolError

_FIELD: Final = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\r\n\0]*)")
MAX_FIELDS: Final = 500

HeaderFields = dict[bytes, bytes]


def parse_fields(lines: list[bytes]) -> HeaderFields:
    """ICAP's own fields by lower-case name; a repeated one is a comma-separated list.

    Raises:
        ProtocolError: 400, a line is not a field. Folded lines are refused, as RFC
            7230 (section 3.2.4) allows.
    """
    if len(lines) > MAX_FIELDS:
        raise ProtocolError(400, "too many header fields")
    fields: HeaderFields = {}
    for line in lines:
        found = _FIELD.fullmatch(line)
        if found is None:
            raise ProtocolError(400, "not a header field")
        name, value = found[1].lower(), found[2].rstrip(b" \t")
        fields[name] = fields[name] + b", " + value if name in fields else value
    return fields


def http_fields(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Fields of an HTTP head, names in lower case. What is not a field is passed over.

    The proxy has already judged that head; we only read in it.
    """
    for line in block.split(b"\r\n")[1:]:
        name, colon, value = line.partition(b":")
        if colon:
            yield name.strip().lower(), value.strip(b" \t")


def list_of(value: bytes) -> list[bytes]:
    """The members of a comma-separated list, in lower case."""
    return [part.strip().lower() for part in value.split(b",") if part.strip()]
