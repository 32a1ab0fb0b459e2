"""The log of tunnels, from which the addresses that they went to are looked up afterwards.

Squid asks about a tunnel before it knows the server's address, and not again: there is no
reply in which it could be refused (squid.conf manual, http_reply_access). So a tunnel by name
to a listed address cannot be blocked; it is at least a sighting.
"""

from __future__ import annotations

from typing import Final

from inkgate.squid_conf.word import squid_word

TUNNELS_PROGRAM: Final = "inkgate-tunnels"
"""What the service calls itself in log and counters."""
TUNNEL_FORMAT: Final = "%ts.%03tu %>a %rm %ru %<a"
"""Squid's logformat, which `inkgate-rules match --format` takes as it is."""


def tunnel_lines(log: str) -> list[str]:
    """The lines by which Squid logs tunnels.

    Args:
        log: the log file.

    Raises:
        SquidConfError: the path cannot be written in squid.conf.
    """
    return [
        "# Tunnels and where they went, for `inkgate squid tunnels`.",
        "acl inkgate_tunnel method CONNECT",
        f"logformat inkgate_tunnel {TUNNEL_FORMAT}",
        f"access_log daemon:{squid_word(log)} inkgate_tunnel inkgate_tunnel",
    ]
