"""The head of an ICAP request: start line, header fields, Encapsulated (RFC 3507, section 4)."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Final, NamedTuple

from inkgate.icap_server.protocol.errors import ProtocolError
from inkgate.icap_server.protocol.fields import HeaderFields, list_of, parse_fields

METHODS: Final = frozenset((b"OPTIONS", b"REQMOD", b"RESPMOD"))
# The size limit of all encapsulated headers together. Squid's limit for one head is
# 64 KiB.
MAX_HEADERS_BYTES: Final = 256 * 1024
_VERSION: Final = re.compile(rb"ICAP/[0-9]{1,5}\.[0-9]{1,5}")
_URI: Final = re.compile(rb"(?:icaps?://[^/?#\s]*|)(/[^?#\s]*|)(?:\?\S*)?|\*", re.IGNORECASE)
_SECTION: Final = re.compile(rb"([a-z]+-[a-z]+)[ \t]*=[ \t]*([0-9]{1,9})")
_NUMBER: Final = re.compile(rb"[0-9]{1,9}")
# The sections that a message of each method may have, in this order (section 4.4.1). The
# last one is the body and must be present.
_LAYOUT: Final = {
    b"OPTIONS": (b"opt-body",),
    b"REQMOD": (b"req-hdr", b"req-body"),
    b"RESPMOD": (b"req-hdr", b"res-hdr", b"res-body"),
}
_NULL: Final = b"null-body"


class Section(NamedTuple):
    """One entry of Encapsulated: its name and where it begins."""

    name: bytes
    offset: int


class Head(NamedTuple):
    """An ICAP request's head.

    Attributes:
        method: one of `METHODS`.
        service: the URI's path without slashes at its ends.
        fields: header fields by lower-case name.
        sections: what is encapsulated; the last one is the body.
        preview: bytes of the preview, None without one.
        allow_204: the client takes 204 outside a preview.
        close: the client wants the connection to end with this message.
    """

    method: bytes
    service: str
    fields: HeaderFields
    sections: tuple[Section, ...]
    preview: int | None
    allow_204: bool
    close: bool

    @property
    def has_body(self) -> bool:
        """Whether chunks follow the encapsulated headers."""
        return bool(self.sections) and self.sections[-1].name != _NULL

    @property
    def headers_bytes(self) -> int:
        """Length of the encapsulated headers together."""
        return self.sections[-1].offset if self.sections else 0


def parse_head(block: bytes) -> Head:
    """Read a head without its final empty line.

    Raises:
        ProtocolError: 400, 501 or 505.
    """
    start, *lines = block.split(b"\r\n")
    method, service = _start_line(start)
    fields = parse_fields(lines)
    sections = _sections(method, fields.get(b"encapsulated"))
    return Head(
        method,
        service,
        fields,
        sections,
        _preview(fields.get(b"preview")),
        b"204" in list_of(fields.get(b"allow", b"")),
        b"close" in list_of(fields.get(b"connection", b"")),
    )


def _start_line(line: bytes) -> tuple[bytes, str]:
    words = line.split(b" ")
    if len(words) != 3 or not _VERSION.fullmatch(words[2]):
        raise ProtocolError(400, "not an ICAP request line")
    if words[2] != b"ICAP/1.0":
        raise ProtocolError(505, "not ICAP/1.0")
    if words[0] not in METHODS:
        raise ProtocolError(501, "no such method")
    uri = _URI.fullmatch(words[1])
    if uri is None:
        raise ProtocolError(400, "not an ICAP URI")
    return words[0], (uri[1] or b"").strip(b"/").decode("latin-1")


def _preview(value: bytes | None) -> int | None:
    if value is None:
        return None
    if not _NUMBER.fullmatch(value):
        raise ProtocolError(400, "Preview is not a number")
    return int(value)


def _sections(method: bytes, value: bytes | None) -> tuple[Section, ...]:
    if value is None:
        if method == b"OPTIONS":
            return ()
        raise ProtocolError(400, "Encapsulated is missing")
    sections = []
    for part in value.split(b","):
        found = _SECTION.fullmatch(part.strip())
        if found is None:
            raise ProtocolError(400, "Encapsulated does not parse")
        sections.append(Section(found[1], int(found[2])))
    _check_layout(method, sections)
    return tuple(sections)


def _check_layout(method: bytes, sections: list[Section]) -> None:
    *layout, body = _LAYOUT[method]
    names = [section.name for section in sections]
    offsets = [section.offset for section in sections]
    if names[-1] not in (body, _NULL) or names[:-1] != [n for n in layout if n in names]:
        raise ProtocolError(400, "Encapsulated names sections that this method has not")
    # No header section is empty, so each offset is larger than the one before.
    if offsets[0] != 0 or any(a >= b for a, b in pairwise(offsets)):
        raise ProtocolError(400, "Encapsulated has offsets out of order")
    if offsets[-1] > MAX_HEADERS_BYTES:
        raise ProtocolError(400, "encapsulated headers are too long")
