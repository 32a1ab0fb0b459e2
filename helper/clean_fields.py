"""What is known to be clean, or listed, in one rule set, by its spelling in Squid's lines."""

from __future__ import annotations

from typing import Final

from inkgate.helper.protocol import ABSENT, METHOD, SERVER, URI, USER_AGENT
from inkgate.rules.lookup.clean_parts import AS_BYTES, UNPAIRED, CleanParts, keep
from inkgate.rules.lookup.recent import Recent
from inkgate.rules.lookup.verdicts import Findings

host_key: Final = AS_BYTES.host_key


class CleanFields(CleanParts[bytes]):
    """The memory of clean parts, for Squid's lines.

    Args:
        limit: hosts to remember; of servers a quarter of it, of User-Agents and of hosts
            that are listed a sixteenth each.
        has_pairs: whether a host can be listed together with the address of a server.

    Attributes:
        hosts_anywhere: clean hosts that are so whatever server's address they have.
    """

    __slots__ = ("_listed", "hosts_anywhere")

    def __init__(self, limit: int, *, has_pairs: bool = False) -> None:
        super().__init__(limit, limit // 4, limit // 16)
        self._listed: Recent[bytes, bool] = Recent(limit // 16)
        self.hosts_anywhere = Recent[bytes, bool](limit // 2) if has_pairs else self.hosts

    def is_listed(self, uri: bytes) -> bool:
        """Whether a URI's host was found to be blocked, whatever the URL.

        The rule is looked up all the same: it may have expired since.
        """
        return bool(self._listed.get(host_key(uri)))

    def covers(self, fields: list[bytes]) -> bool:
        """Whether a request with these fields is known to be clean.

        `Helper._sort` has the same test without a call; this one is for requests that
        have waited.
        """
        key = host_key(fields[URI])
        return bool(
            self.hosts.get(key)
            and (
                fields[SERVER] == ABSENT
                or (known := self.servers.get(fields[SERVER])) == UNPAIRED
                or (known and self.hosts_anywhere.get(key))
            )
            and self.agents.get(fields[USER_AGENT])
        )

    def remember(self, fields: list[bytes], found: Findings) -> None:
        """Remember what a look-up found to be clean by itself."""
        host = host_key(fields[URI])
        if (found.clean_host or found.listed_host) and AS_BYTES.decides_host(fields[METHOD], host):
            keep(self.hosts if found.clean_host else self._listed, host)
            if found.clean_host and not found.by_server:
                keep(self.hosts_anywhere, host)
        if found.clean_server:
            self.keep_server(fields[SERVER], unpaired=found.unpaired)
        if found.clean_agent:
            keep(self.agents, fields[USER_AGENT])
