"""A request as a proxy sees it, whatever protocol told us of it."""

from __future__ import annotations

from typing import NamedTuple


class Observed(NamedTuple):
    """What of a request can be listed; texts that are not known are empty.

    Attributes:
        method: HTTP method; `CONNECT` for a tunnel.
        uri: absolute URI, or `host:port` of a tunnel.
        server: the server's address, once it is known.
        user_agent: the User-Agent header.
    """

    method: str
    uri: str
    server: str = ""
    user_agent: str = ""
