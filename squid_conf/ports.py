"""Where Squid listens, and which of its ports a client on this machine can try."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from inkgate.squid_conf.configuration import Line

_PORT: Final = re.compile(r"(?:(?:\[([0-9A-Fa-f:.]+)\]|([^\s\[\]:]+)):)?([0-9]{1,5})")
# Connections are taken over from the network, or are meant for a web site of ours.
_NOT_A_PROXY: Final = {
    "intercept": "takes intercepted connections",
    "transparent": "takes intercepted connections",
    "tproxy": "takes intercepted connections",
    "accel": "stands before a web server",
    "vhost": "stands before a web server",
    "defaultsite": "stands before a web server",
}
LOOPBACK: Final = "127.0.0.1"


class Port(NamedTuple):
    """A port of Squid.

    Attributes:
        place: the line that opens it; empty if it was given by hand.
        host: where to connect to, from this machine.
        number: the port's number.
        is_any: whether it listens on all addresses of the machine.
        untried: why a client of this kind cannot try it; empty if it can.
    """

    place: str
    host: str
    number: int
    is_any: bool = False
    untried: str = ""

    @property
    def name(self) -> str:
        """For a message."""
        return f"port {self.number}" + (f" ({self.place})" if self.place else "")


def ports_of(lines: Sequence[Line]) -> list[Port]:
    """All ports that Squid opens for HTTP, in the order of their lines."""
    return list(_ports(lines))


def _ports(lines: Iterable[Line]) -> Iterable[Port]:
    for line in lines:
        if line.name not in ("http_port", "https_port") or not line.words:
            continue
        found = _PORT.fullmatch(line.words[0])
        if found is None:
            yield Port(
                line.place, LOOPBACK, 0, untried=f"has an address we cannot read: {line.said}"
            )
            continue
        address = found[1] or found[2] or ""
        yield Port(
            line.place,
            _reached_at(address),
            number=int(found[3]),
            is_any=address in ("", "0.0.0.0", "::"),  # noqa: S104 (compared with, not listened on)
            untried=_untried(line),
        )


def _reached_at(address: str) -> str:
    if address in ("", "0.0.0.0"):  # noqa: S104 (compared with, not listened on)
        return LOOPBACK
    return "::1" if address == "::" else address


def _untried(line: Line) -> str:
    for word in line.words[1:]:
        if reason := _NOT_A_PROXY.get(word.partition("=")[0]):
            return reason
    return "takes TLS from its clients" if line.name == "https_port" else ""
