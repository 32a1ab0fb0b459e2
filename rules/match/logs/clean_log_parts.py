"""What is known to be clean in one rule set, by its spelling in the log."""

from __future__ import annotations

from typing import Final

from inkgate.rules.lookup.clean_parts import AS_TEXT, UNPAIRED, CleanParts, is_short, keep
from inkgate.rules.lookup.recent import Recent

ABSENT: Final = "-"

host_key: Final = AS_TEXT.host_key


class CleanLogParts(CleanParts[str]):
    """The memory of clean parts, for lines of logs. Empty ones are also found as `-`.

    Args:
        limit: hosts to remember; of the other parts a fraction of it.

    Attributes:
        hosts: those that are clean whatever server's address they have.
        by_server: keys of those that are clean but perhaps with the address of one of theirs.
        pairs: keys of hosts, with an address with which they are clean.
        clients: clients' addresses.
        names: names and addresses by themselves, with what else decides about them.
    """

    __slots__ = ("by_server", "clients", "names", "pairs")

    def __init__(self, limit: int) -> None:
        super().__init__(limit, limit // 2, limit // 8)
        self.by_server: Recent[str, bool] = Recent(limit // 4)
        self.pairs: Recent[tuple[str, str], bool] = Recent(limit // 4)
        self.clients: Recent[str, bool] = Recent(limit // 4)
        self.names: Recent[tuple[object, ...], bool] = Recent(limit // 2)

    def covers(self, key: str, server: str, agent: str, client: str) -> bool:
        """Whether a request with these parts is clean."""
        return bool(
            (
                (self.hosts.get(key) and self.servers.get(server))
                or (self.by_server.get(key) and self.servers.get(server) == UNPAIRED)
                or self.pairs.get((key, server))
            )
            and self.agents.get(agent)
            and self.clients.get(client)
        )

    def keep_host(self, method: str, key: str, *, by_server: bool = False) -> None:
        """Remember that a host is clean, with all of its URLs."""
        if AS_TEXT.decides_host(method, key):
            keep(self.by_server if by_server else self.hosts, key)

    def keep_server(self, server: str, *, unpaired: bool = False) -> None:
        """Remember that a server is clean by itself, or with every host, as none at all is."""
        super().keep_server(server, unpaired=unpaired or not server)
        if not server:
            super().keep_server(ABSENT, unpaired=True)

    def keep_pair(self, method: str, key: str, server: str) -> None:
        """Remember that a host is clean with all of its URLs, at this server."""
        if AS_TEXT.decides_host(method, key) and is_short(key) and is_short(server):
            self.pairs.put((key, server), True)

    def keep_agent(self, agent: str) -> None:
        """Remember that a User-Agent is clean."""
        _keep_or_absent(self.agents, agent)

    def keep_client(self, client: str) -> None:
        """Remember that a client is clean."""
        _keep_or_absent(self.clients, client)

    def keep_name(self, name: tuple[object, ...]) -> None:
        """Remember that a name or an address by itself is clean."""
        if all(not isinstance(piece, str) or is_short(piece) for piece in name):
            self.names.put(name, True)


def _keep_or_absent(parts: Recent[str, bool], text: str) -> None:
    keep(parts, text)
    if not text:
        keep(parts, ABSENT)
