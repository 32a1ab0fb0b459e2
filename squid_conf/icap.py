"""The lines that make a Squid ask inkgate over ICAP (squid.conf manual: icap_service)."""

from __future__ import annotations

from inkgate.squid_conf.word import squid_word

PRINTED = "# Made by inkgate-squid-conf --icap."
LOG_FORMAT = (
    "%ts.%03tu %6tr %>a %Ss/%03>Hs %<st %rm %ru %[un %Sh/%<a %mt "
    "inkgate=%{X-Inkgate-Incident}adapt::<last_h"
)


def icap_fragment(
    *,
    service: str,
    fail: str,
    server_header: str,
    name_header: str,
    log: str,
    header: str = PRINTED,
) -> str:
    """A drop-in for Squid's configuration.

    Args:
        service: the server, as in `icap://127.0.0.1:1344`.
        fail: `open` or `closed`: what Squid does while the server does not answer.
        server_header: the ICAP header that tells the server's address.
        name_header: the ICAP header that tells the name asked for inside TLS; empty for
            none, as a Squid without OpenSSL needs it, which refuses the line.
        log: Squid's access log, or empty for none of our own.
        header: a comment for the first line.

    Raises:
        SquidConfError: a path cannot be written in squid.conf.
    """
    bypass = "on" if fail == "open" else "off"
    # Above the server's Max-Connections requests wait, unless they may pass unseen.
    overload = "bypass" if fail == "open" else "wait"
    answers = f"bypass={bypass} on-overload={overload}"
    server = squid_word(service.rstrip("/"))
    lines = [
        header,
        "icap_enable on",
        "icap_send_client_ip on",
        "icap_persistent_connections on",
        "# Preview: 0 and Transfer-Preview: *, which the server asks for, let it answer",
        "# before a body is sent.",
        "icap_preview_enable on",
        "icap_connect_timeout 5 seconds",
        "icap_service_failure_limit 10 in 30 seconds",
        "icap_service_revival_delay 30",
        f'adaptation_meta {server_header} "%<a"',
        *([f'adaptation_meta {name_header} "%ssl::>sni"'] if name_header else []),
    ]
    for name, point in (("reqmod", "reqmod_precache"), ("respmod", "respmod_precache")):
        lines += [
            f"icap_service inkgate_{name} {point} {server}/{name} {answers}",
            f"adaptation_access inkgate_{name} allow all",
        ]
    if log:
        lines += [
            "# The incident id, as on the blocked page and in the journal.",
            f"logformat inkgate_icap {LOG_FORMAT}",
            f"access_log {squid_word(log)} inkgate_icap",
        ]
    return "\n".join(lines) + "\n"
