"""What is known to be clean, or listed, in one rule set, by its spelling in Squid's lines."""

from __future__ import annotations

from typing import Final

from inkgate.helper.protocol import ABSENT, METHOD, SERVER, URI, USER_AGENT
from inkgate.rules.lookup.clean_parts import AS_BYTES, CLEAN, UNPAIRED, CleanParts, is_short, keep
from inkgate.rules.lookup.recent import Recent
from inkgate.rules.lookup.verdicts import Findings

host_key: Final = AS_BYTES.host_key


class CleanFields(CleanParts[bytes]):
    """The memory of clean parts, for Squid's lines.

    Args:
        limit: hosts to remember; of servers a quarter of it, of User-Agents and of hosts
            that are listed a sixteenth each.
    """

    __slots__ = ("_listed",)

    def __init__(self, limit: int) -> None:
        super().__init__(limit, limit // 4, limit // 16)
        self._listed: Recent[bytes, bool] = Recent(limit // 16)

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
                or (known and self.hosts.get(key) == UNPAIRED)
            )
            and self.agents.get(fields[USER_AGENT])
        )

    def remember(self, fields: list[bytes], found: Findings) -> None:
        """Remember what a look-up found to be clean by itself."""
        host = host_key(fields[URI])
        if (found.clean_host or found.listed_host) and AS_BYTES.decides_host(fields[METHOD], host):
            if not found.clean_host:
                keep(self._listed, host)
            elif is_short(host):
                self.hosts.put(host, CLEAN if found.by_server else UNPAIRED)
        if found.clean_server:
            self.keep_server(fields[SERVER], unpaired=found.unpaired)
        if found.clean_agent:
            keep(self.agents, fields[USER_AGENT])
