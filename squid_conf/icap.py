"""The lines that make a Squid ask inkgate over ICAP (squid.conf manual: icap_service)."""

from __future__ import annotations

from typing import Final

from inkgate.icap_server.settings import Fail
from inkgate.squid_conf.word import squid_word

PRINTED = "# Made by inkgate-squid-conf --icap."
LOG_FORMAT = (
    "%ts.%03tu %6tr %>a %Ss/%03>Hs %<st %rm %ru %[un %Sh/%<a %mt "
    "inkgate=%{X-Inkgate-Incident}adapt::<last_h"
)

REVIVAL_SECONDS: Final = 30
"""How soon Squid asks a server again that it holds to be down."""
TIMEOUT_SECONDS: Final[dict[Fail, tuple[int, int]]] = {"open": (1, 2), "closed": (3, 3)}
"""`icap_connect_timeout` and `icap_io_timeout`. Squid counts whole seconds: it gives up
between a second earlier and a second later. With `open` a request goes on when its own message
has failed, and its response fails once more."""


def icap_fragment(
    *,
    service: str,
    fail: Fail,
    server_header: str,
    name_header: str,
    log: str,
    header: str = PRINTED,
) -> str:
    """A drop-in for Squid's configuration.

    Args:
        service: the server, as in `icap://127.0.0.1:1344`.
        fail: `open` or `closed`: what Squid does while the server does not answer.
        server_header: the ICAP header that tells the server's address and port.
        name_header: the ICAP header that tells the name asked for inside TLS; empty for
            none, as a Squid without OpenSSL needs it, which refuses the line.
        log: Squid's access log, or empty for none of our own.
        header: a comment for the first line.

    Raises:
        SquidConfError: a path cannot be written in squid.conf.
    """
    lines = [header, *_client(fail), f'adaptation_meta {server_header} "%<a %<p"']
    if name_header:
        lines.append(f'adaptation_meta {name_header} "%ssl::>sni"')
    lines += _services(squid_word(service.rstrip("/")), fail)
    if log:
        lines += [
            "# The incident id, as on the blocked page and in the journal.",
            f"logformat inkgate_icap {LOG_FORMAT}",
            f"access_log {squid_word(log)} inkgate_icap",
        ]
    return "\n".join(lines) + "\n"


def _client(fail: Fail) -> list[str]:
    """How Squid speaks ICAP, and how long it waits."""
    connect, silence = TIMEOUT_SECONDS[fail]
    return [
        "icap_enable on",
        "icap_send_client_ip on",
        "# Of an idle connection Squid learns only by its timeout that the server is stopped,",
        "# and tries once more.",
        "icap_persistent_connections off",
        "# Preview: 0 and Transfer-Preview: *, which the server asks for, let it answer",
        "# before a body is sent.",
        "icap_preview_enable on",
        "# So long, and up to a second more, a server that is stopped or unreachable costs each",
        "# of a request's two messages. One that runs is not silent for half a second.",
        f"icap_connect_timeout {connect} seconds",
        f"icap_io_timeout {silence} seconds",
        "# Never switched off for everybody because messages of some have failed.",
        "icap_service_failure_limit -1",
        f"icap_service_revival_delay {REVIVAL_SECONDS}",
    ]


def _services(server: str, fail: Fail) -> list[str]:
    bypass = "on" if fail == "open" else "off"
    # Above the server's Max-Connections messages wait: nobody can open the way for others
    # by many connections.
    answers = f"bypass={bypass} on-overload=wait"
    return [
        line
        for name, point in (("reqmod", "reqmod_precache"), ("respmod", "respmod_precache"))
        for line in (
            f"icap_service inkgate_{name} {point} {server}/{name} {answers}",
            f"adaptation_access inkgate_{name} allow all",
        )
    ]
