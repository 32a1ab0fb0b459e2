"""What is known to be clean in one generation, by its spelling in Squid's lines."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from inkgate.helper.protocol import METHOD, SERVER, URI, USER_AGENT
from inkgate.rules.lookup.recent import Recent
from inkgate.rules.lookup.verdicts import Findings

# Where the host is surely over: "http://" and one character of it have 8 bytes.
HOST_FROM: Final = 8
_MAX_KEY_BYTES: Final = 300
_WITH_PORT: Final = re.compile(rb".*:[0-9]+")


class Clean(NamedTuple):
    """Parts of requests that need not be looked at again."""

    hosts: Recent[bytes, bool]
    servers: Recent[bytes, bool]
    agents: Recent[bytes, bool]

    @classmethod
    def nothing(cls, limit: int) -> Clean:
        """Nothing is known yet, and never more than `limit` hosts will be."""
        return cls(Recent(limit), Recent(limit // 4), Recent(limit // 16))

    def covers(self, fields: list[bytes]) -> bool:
        """Whether a request with these fields is known to be clean.

        The loop has the same test in line; this one is for lines that waited.
        """
        return bool(
            self.hosts.get(host_key(fields[URI]))
            and (fields[SERVER] == b"-" or self.servers.get(fields[SERVER]))
            and self.agents.get(fields[USER_AGENT])
        )

    def remember(self, fields: list[bytes], found: Findings) -> None:
        """Remember what a look-up found to be clean by itself."""
        host = host_key(fields[URI])
        for clean, cache, key in (
            (found.clean_host and _one_port(fields[METHOD], host), self.hosts, host),
            (found.clean_server, self.servers, fields[SERVER]),
            (found.clean_agent, self.agents, fields[USER_AGENT]),
        ):
            # A key that ends in a slash holds no host: `http:///` goes on with any.
            if clean and len(key) <= _MAX_KEY_BYTES and not key.endswith(b"/"):
                cache.put(key, True)


def host_key(uri: bytes) -> bytes:
    """The part of a URI that decides its host: everything before the path.

    Two URIs with the same key have the same scheme, host and port, in whatever
    spelling, unless the key ends in a slash. (The key may be longer than that; then it
    only fits fewer URIs.)
    """
    end = uri.find(b"/", HOST_FROM)
    return uri if end < 0 else uri[:end]


def _one_port(method: bytes, key: bytes) -> bool:
    # Without a scheme and without a port, the port is another one for CONNECT than
    # for other methods, and the method is not part of the key.
    return b"://" in key or (method == b"CONNECT" and _WITH_PORT.fullmatch(key) is not None)
