"""What a run knows to be clean, by its spelling in the log."""

from __future__ import annotations

import re
from typing import Final

from inkgate.rules.lookup.recent import Recent

# Where the host is surely over: "http://" and one character of it have 8 characters.
HOST_FROM: Final = 8
ABSENT: Final = "-"
_MAX_KEY: Final = 300
_WITH_PORT: Final = re.compile(r".*:[0-9]+")


class Known:
    """Parts of log lines that need not be looked at again in this generation.

    Args:
        limit: hosts to remember; of the other parts a fraction of it.
        pairs: whether a server can be listed together with the name that was asked for.
    """

    __slots__ = ("agents", "clients", "hosts", "pairs", "parts", "servers")

    def __init__(self, limit: int, *, pairs: bool = False) -> None:
        self.pairs = pairs
        self.hosts: Recent[str, bool] = Recent(limit)
        self.servers: Recent[str, bool] = Recent(limit // 2)
        self.agents: Recent[str, bool] = Recent(limit // 8)
        self.clients: Recent[str, bool] = Recent(limit // 4)
        self.parts: Recent[tuple[object, ...], bool] = Recent(limit // 2)

    def covers(self, key: str, server: str, agent: str, client: str) -> bool:
        """Whether a request with these parts is clean."""
        return bool(
            self.hosts.get(key)
            and self.servers.get(f"{server} {key}" if self.pairs else server)
            and self.agents.get(agent)
            and self.clients.get(client)
        )

    def keep_server(self, server: str, key: str) -> None:
        """Remember that a server is clean; where there are pairs, for this host."""
        if len(server) + len(key) <= _MAX_KEY:
            for text in (server,) if server else ("", ABSENT):
                self.servers.put(f"{text} {key}" if self.pairs else text, True)

    def keep_host(self, method: str, key: str) -> None:
        """Remember that a host is clean, with all of its URLs."""
        # A key that ends in a slash holds no host: `http:///` goes on with any. Without a
        # scheme and a port, the port depends on the method.
        whole = "://" in key or (method == "CONNECT" and _WITH_PORT.fullmatch(key))
        if whole and len(key) <= _MAX_KEY and not key.endswith("/"):
            self.hosts.put(key, True)


def keep(cache: Recent[str, bool], text: str) -> None:
    """Remember a clean text, unless it is too long to be worth it."""
    if len(text) <= _MAX_KEY:
        cache.put(text, True)
    if not text:
        cache.put(ABSENT, True)


def host_key(uri: str) -> str:
    """The part of a URI that decides its host: everything before the path."""
    end = uri.find("/", HOST_FROM)
    return uri if end < 0 else uri[:end]
