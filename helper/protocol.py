"""Squid's external_acl helper protocol: bytes in, bytes out, no I/O.

A request is `ID METHOD URI CLIENT SERVER USER-AGENT [SERVER-PORT] DATA`, one line. Squid
writes the fields with `%#`, so each is unquoted exactly once (squid.conf manual,
external_acl_type and logformat). An answer is `ID OK|ERR|BH [key=value …]`.

An answer line without a pending ID makes Squid abort, so only what passes
`request_id` is ever answered.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple
from urllib.parse import unquote_to_bytes

from inkgate.rules.lookup.observed import Observed, port_of

MAX_LINE_BYTES: Final = 256 * 1024
MAX_ID: Final = 2**64 - 1
_ID: Final = re.compile(rb"([0-9]{1,20})(?: |$)")
# IDs with fewer digits than MAX_ID need no comparison.
SHORT_ID_DIGITS: Final = 19
ABSENT: Final = b"-"

NOTE: Final = "inkgate"
ASK_SERVER: Final = "ask-server"

METHOD, URI, CLIENT, SERVER, USER_AGENT = 1, 2, 3, 4, 5
MIN_FIELDS: Final = 6
# In lines of an older squid.conf DATA stands there, which is always absent.
SERVER_PORT: Final = 6


class Request(NamedTuple):
    """One request as Squid describes it; texts are unquoted, absent ones empty."""

    id: bytes
    method: str
    uri: str
    client: str
    server: str
    user_agent: str
    server_port: int | None = None

    @property
    def observed(self) -> Observed:
        """What of it can be listed."""
        return Observed(self.method, self.uri, self.server, self.user_agent, self.server_port)


class LineSplitter:
    """Cuts a stream into lines without ever holding more than one long line.

    Of a line beyond the limit only its beginning is kept: enough to answer its ID.
    """

    def __init__(self, limit: int = MAX_LINE_BYTES) -> None:
        self._limit = limit
        self._rest = b""

    @property
    def at_start(self) -> bool:
        """Whether no line has come in part."""
        return not self._rest

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that this piece of the stream completes, without their newline."""
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        if len(self._rest) > self._limit:
            self._rest = self._rest[: self._limit]
        return lines

    def finish(self) -> list[bytes]:
        """What is left at the end of the stream, if anything, as a last line."""
        rest, self._rest = self._rest, b""
        return [rest] if rest else []


def request_id(line: bytes) -> bytes | None:
    """The line's ID, or None if it has none and so must not be answered."""
    found = _ID.match(line)
    if found is None or int(found[1]) > MAX_ID:
        return None
    return found[1]


def parse_request(line: bytes) -> Request | None:
    """Parse a line that has an ID; None if its fields are not those of our format."""
    fields = line.rstrip(b"\r").split(b" ")
    if len(fields) < MIN_FIELDS or len(line) >= MAX_LINE_BYTES or not all(fields[:MIN_FIELDS]):
        return None
    port = port_of(fields[SERVER_PORT]) if len(fields) > SERVER_PORT else None
    method, uri, client, server, agent = map(text_of, fields[METHOD:MIN_FIELDS])
    return Request(fields[0], method, uri, client, server, agent, port)


def ok(request: bytes, incident: str) -> bytes:
    """Matched. `message` reaches the blocked page (%o), `log` access.log (%ea)."""
    text = incident.encode("ascii")
    return b"%b OK message=%b log=%b\n" % (request, text, text)


def err(request: bytes) -> bytes:
    """Not matched."""
    return request + b" ERR\n"


def err_from_server(request: bytes) -> bytes:
    """Not matched, and Squid is to ask the server, whatever its cache has.

    Squid takes what ends with `_` for a note of the operator's (`acl … note`).
    """
    return b"%b ERR %b_=%b\n" % (request, NOTE.encode(), ASK_SERVER.encode())


def passed_by_fail(request: bytes) -> bytes:
    """Could not tell, and `fail` lets it pass. `log` reaches access.log (%ea)."""
    return request + b" ERR log=inkgate-unavailable\n"


def broken(request: bytes) -> bytes:
    """Could not tell."""
    return request + b" BH message=inkgate-unavailable log=inkgate-unavailable\n"


def text_of(field: bytes) -> str:
    """A field as it was before Squid quoted it; an absent one is empty."""
    if field == ABSENT:
        return ""
    # Squid passes on bytes of any encoding. Bytes that are not UTF-8 are kept apart
    # from each other (surrogates), so that two values never become one.
    return unquote_to_bytes(field).decode("utf-8", "surrogateescape")
