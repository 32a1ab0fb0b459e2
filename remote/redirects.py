"""Which redirects are followed: to the same host only, and never from TLS to none."""

from __future__ import annotations

import ipaddress
import socket
import threading
from typing import Final
from urllib.parse import SplitResult, urljoin, urlsplit

from inkgate.remote.errors import InnerAddressError, RedirectRefusedError

MOST: Final = 3
"""How many redirects one answer may have."""
_PORTS: Final = {"http": 80, "https": 443}


def next_url(url: str, location: str) -> str:
    """The address that a redirect leads to, if it is of the same host.

    The port may change only together with the scheme, from http to https, where a
    certificate vouches for the host: on another port of the same host another service
    listens that may take us for somebody else.

    Args:
        url: what was asked; its user and password are kept.
        location: the answer's Location, absolute or not.

    Raises:
        RedirectRefusedError: it leads elsewhere.
    """
    try:
        before, after = urlsplit(url), urlsplit(urljoin(url, location))
        allowed = _is_home(before, after)
    except ValueError:
        allowed = False
    if not allowed:
        raise RedirectRefusedError(url, location)
    user = before.netloc.rpartition("@")
    host = after.netloc.rpartition("@")[2]
    return after._replace(netloc=f"{user[0]}{user[1]}{host}", fragment="").geturl()


def _is_home(before: SplitResult, after: SplitResult) -> bool:
    if not after.hostname or after.hostname != before.hostname:
        return False
    if (before.scheme, after.scheme) == ("http", "https"):
        return True
    return (after.scheme, _port(after)) == (before.scheme, _port(before))


def origin(url: str) -> tuple[str, str | None, int | None]:
    """Scheme, host and port of an address.

    Raises:
        ValueError: it is none.
    """
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, _port(parts)


def _port(parts: SplitResult) -> int | None:
    return parts.port or _PORTS.get(parts.scheme)


def is_inner(address: str) -> bool:
    """Whether an IP address is this machine's or of a network that is not the Internet's."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return not (mapped or parsed).is_global


class Home:
    """Where a host was first found: one that was outside never leads inside.

    The name stays the same when its owner lets it point to 127.0.0.1 (DNS rebinding). Whoever
    configures a host of the inner network finds it there at the first connection.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inner: bool | None = None

    def check(self, connection: socket.socket) -> None:
        """See where a new connection has led.

        Raises:
            InnerAddressError: inside, and the first one was outside.
        """
        inner = is_inner(connection.getpeername()[0])
        with self._lock:
            if self._inner is None:
                self._inner = inner
            if inner and not self._inner:
                raise InnerAddressError("has an address of this machine or network by now")
