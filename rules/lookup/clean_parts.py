"""Parts of requests that match nothing in one rule set, remembered by their spelling.

Helper, ICAP server and log matching answer most requests from this memory: no parsing, no
derivation. What may be remembered stands here, once. How a part is spelled and how many
parts there may be is the front end's (docs/decisions/0004).
"""

from __future__ import annotations

import re
from typing import AnyStr, Final, Generic

from inkgate.rules.lookup.recent import Recent

# "http://" and one character of the host are 8 characters, so the first slash from there
# on begins the path.
HOST_FROM: Final = 8
# Clients choose spellings. With longer ones they could fill the memory of a process.
_MAX_SPELLING: Final = 300


class Spelling(Generic[AnyStr]):
    """How a front end spells requests: in bytes or in text.

    Args:
        slash: what begins a path.
        scheme_end: what ends a URI's scheme.
        tunnel: the method that asks for a tunnel.
        with_port: matches what ends with a port.
    """

    def __init__(
        self, slash: AnyStr, scheme_end: AnyStr, tunnel: AnyStr, with_port: re.Pattern[AnyStr]
    ) -> None:
        self._slash: AnyStr = slash
        self._scheme_end: AnyStr = scheme_end
        self._tunnel: AnyStr = tunnel
        self._with_port: re.Pattern[AnyStr] = with_port

    def host_key(self, uri: AnyStr) -> AnyStr:
        """The part of a URI that decides its host: everything before the path.

        Two URIs with the same key have the same scheme, host and port, in whatever
        spelling, unless the key ends in a slash. (The key may be longer than that; then it
        only fits fewer URIs.)
        """
        end = uri.find(self._slash, HOST_FROM)
        return uri if end < 0 else uri[:end]

    def decides_host(self, method: AnyStr, key: AnyStr) -> bool:
        """Whether all requests with this key have the same host and port."""
        # `http:///` holds no host: any may follow.
        if key.endswith(self._slash):
            return False
        # Without a scheme and without a port, the port is another one for CONNECT than for
        # other methods, and the method is not part of the key.
        return self._scheme_end in key or (
            method == self._tunnel and self._with_port.fullmatch(key) is not None
        )


AS_BYTES: Final = Spelling(b"/", b"://", b"CONNECT", re.compile(rb".*:[0-9]+"))
AS_TEXT: Final = Spelling("/", "://", "CONNECT", re.compile(r".*:[0-9]+"))


CLEAN: Final = 1
"""Of a host, or of a server's address: clean by itself."""

UNPAIRED: Final = 2
"""The same, and listed together with no address of a server, or with no host."""


class CleanParts(Generic[AnyStr]):
    """Parts of requests that need not be looked up again in this rule set.

    Args:
        hosts: so many of them are remembered.
        servers: the same.
        agents: the same.

    Attributes:
        hosts: hosts that are clean with all of their URLs: `CLEAN` or `UNPAIRED`.
        servers: addresses of servers: `CLEAN`, or `UNPAIRED` where known.
        agents: User-Agent headers.
    """

    __slots__ = ("agents", "hosts", "servers")

    def __init__(self, hosts: int, servers: int, agents: int) -> None:
        self.hosts: Recent[AnyStr, int] = Recent(hosts)
        self.servers: Recent[AnyStr, int] = Recent(servers)
        self.agents: Recent[AnyStr, bool] = Recent(agents)

    def keep_server(self, server: AnyStr, *, unpaired: bool) -> None:
        """Remember that a server is clean by itself, or with every host."""
        if is_short(server) and (unpaired or not self.servers.get(server)):
            self.servers.put(server, UNPAIRED if unpaired else CLEAN)


def keep(parts: Recent[AnyStr, bool] | Recent[AnyStr, int], spelled: AnyStr) -> None:
    """Remember a clean part, unless it is too long to be worth it."""
    if is_short(spelled):
        parts.put(spelled, True)


def is_short(spelled: AnyStr) -> bool:
    """Whether a spelling may be kept in memory."""
    return len(spelled) <= _MAX_SPELLING
