"""Where a request goes: host, port and URL, from its method and URI."""

from __future__ import annotations

from typing import Final, NamedTuple

from inkgate.rules.canonical import Host, Refused, observed_authority

_PORTS: Final = {"http": 80, "https": 443, "ftp": 21, "ws": 80, "wss": 443, "": 80}
_HTTPS: Final = 443


class Target(NamedTuple):
    """A request's target.

    Attributes:
        url: None for a tunnel, which shows no path.
        whole: whether `host` is all of the host, or only its last sound labels.
    """

    host: Host
    port: int | None
    url: str | None
    whole: bool = True


def parse_target(method: str, uri: str) -> Target | None:
    """Read a request's URI; None if it has no host that could be listed."""
    tunnel = method == "CONNECT"
    try:
        (host, port, scheme), whole = observed_authority(uri)
    except Refused:
        return None
    if port is None:
        port = _HTTPS if tunnel else _PORTS.get(scheme)
    return Target(host, port, None if tunnel else uri, whole)
