"""What a line of a log shows, whatever its format."""

from __future__ import annotations

from typing import Final, NamedTuple

MAX_LINE: Final = 256 * 1024
MAX_VALUES: Final = 64


class Entry(NamedTuple):
    """The parts of a log line that can be listed; what is not known is empty.

    Attributes:
        time: as it was logged; see `times.parse_time`.
        client: the client's address: class `ip-src`.
        method: HTTP method; `CONNECT` for a tunnel.
        uri: absolute URI, or `host:port` of a tunnel.
        server: the server's address: class `ip-dst`.
        port: of the server.
        user_agent: the User-Agent header.
        names: other host names: TLS SNI, DNS queries.
        addresses: other servers' addresses: DNS answers.
        values: MISP types and values: digests and the like.
        readings: other URIs and User-Agents that the line may stand for; one of the two is
            empty.
        others: what fields beside this line show, where it stood in a field of another log;
            they have no others of their own.
    """

    time: str = ""
    client: str = ""
    method: str = ""
    uri: str = ""
    server: str = ""
    port: str = ""
    user_agent: str = ""
    names: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    values: tuple[tuple[str, str], ...] = ()
    readings: tuple[tuple[str, str], ...] = ()
    others: tuple[Entry, ...] = ()

    @property
    def parts(self) -> tuple[Entry, ...]:
        """This entry, and the others."""
        return (self, *self.others)

    @property
    def is_empty(self) -> bool:
        """Whether it shows nothing that could be listed."""
        return not (
            self.uri
            or self.server
            or self.client
            or self.names
            or self.values
            or self.addresses
            or self.user_agent
            or self.others
        )

    @property
    def shown(self) -> str:
        """The part that a reader recognises best: URL, name, address or value."""
        first = self.values[0][1] if self.values else ""
        return self.uri or (self.names[0] if self.names else "") or self.server or first


def parse_port(text: str) -> int | None:
    """A port number, or None."""
    if text.isascii() and text.isdigit() and len(text) <= 5 and 0 < int(text) < 65_536:
        return int(text)
    return None
