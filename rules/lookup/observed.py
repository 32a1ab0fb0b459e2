"""A request as a proxy sees it, whatever protocol told us of it."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

_PORT: Final = re.compile(rb"[0-9]{1,5}")


class Observed(NamedTuple):
    """What of a request can be listed; texts that are not known are empty.

    Attributes:
        method: HTTP method; `CONNECT` for a tunnel.
        uri: absolute URI, or `host:port` of a tunnel.
        server: the server's address, once it is known.
        user_agent: the User-Agent header.
        port: the port of the connection to the server, once it is known: that of the URI may
            be another, where Squid takes connections of clients that do not know of it.
    """

    method: str
    uri: str
    server: str = ""
    user_agent: str = ""
    port: int | None = None


def port_of(field: bytes) -> int | None:
    """A port as a proxy tells it; None if it is none."""
    return int(field) if _PORT.fullmatch(field) else None
