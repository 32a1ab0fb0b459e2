"""Where a request goes: host, port and URL, from its method and URI."""

from __future__ import annotations

from typing import Final, NamedTuple

from rules.canonical import Host, Refused, canonical_authority

_PORTS: Final = {"http": 80, "https": 443, "ftp": 21, "": 80}
_HTTPS: Final = 443


class Target(NamedTuple):
    """A request's target. `url` is None for a tunnel, which shows no path."""

    host: Host
    port: int | None
    url: str | None


def parse_target(method: str, uri: str) -> Target | None:
    """Read a request's URI; None if it has no host that could be listed."""
    tunnel = method == "CONNECT"
    try:
        host, port, scheme = canonical_authority(uri)
    except Refused:
        return None
    if port is None:
        port = _HTTPS if tunnel else _PORTS.get(scheme)
    return Target(host, port, None if tunnel else uri)
