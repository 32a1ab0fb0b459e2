"""What is known to be clean in one rule set, by its spelling in Squid's lines."""

from __future__ import annotations

from typing import Final

from inkgate.helper.protocol import ABSENT, METHOD, SERVER, URI, USER_AGENT
from inkgate.rules.lookup.clean_parts import AS_BYTES, CleanParts, keep
from inkgate.rules.lookup.verdicts import Findings

host_key: Final = AS_BYTES.host_key


class CleanFields(CleanParts[bytes]):
    """The memory of clean parts, for Squid's lines.

    Args:
        limit: hosts to remember; of servers a quarter of it, of User-Agents a sixteenth.
    """

    __slots__ = ()

    def __init__(self, limit: int) -> None:
        super().__init__(limit, limit // 4, limit // 16)

    def covers(self, fields: list[bytes]) -> bool:
        """Whether a request with these fields is known to be clean.

        `Helper._sort` has the same test without a call; this one is for requests that
        have waited.
        """
        return bool(
            self.hosts.get(host_key(fields[URI]))
            and (fields[SERVER] == ABSENT or self.servers.get(fields[SERVER]))
            and self.agents.get(fields[USER_AGENT])
        )

    def remember(self, fields: list[bytes], found: Findings) -> None:
        """Remember what a look-up found to be clean by itself."""
        host = host_key(fields[URI])
        if found.clean_host and AS_BYTES.decides_host(fields[METHOD], host):
            keep(self.hosts, host)
        if found.clean_server:
            keep(self.servers, fields[SERVER])
        if found.clean_agent:
            keep(self.agents, fields[USER_AGENT])
