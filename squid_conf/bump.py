"""How much of TLS Squid looks into (squid.conf manual: ssl_bump, http_port, sslcrtd_program)."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal, NamedTuple

from inkgate.squid_conf.word import squid_word

Bump = Literal["none", "sni", "listed", "full"]
LISTED_NAME: Final = "inkgate_name_listed"
_PEEKED: Final = "inkgate_peeked"
_TUNNEL: Final = "inkgate_connect"
CERTGEN: Final = "/usr/lib/squid/security_file_certgen"


# Without a verdict `ssl_bump` tries no further line and splices, whatever they say, but
# `http_access` refuses; Squid asks it once more when the name is known. What it sends then ends
# the client's TLS handshake.
_REFUSE_WITHOUT_VERDICT: Final = (
    f"acl {_PEEKED} at_step SslBump2 SslBump3",
    f"acl {_TUNNEL} method CONNECT",
    f"http_access deny {_TUNNEL} {_PEEKED} {LISTED_NAME}",
)


class Bumping(NamedTuple):
    """What a way of bumping adds to squid.conf.

    Attributes:
        port: words after `http_port ADDRESS`, with a space before them.
        lines: what else.
    """

    port: str
    lines: tuple[str, ...]


def bumping(
    how: Bump,
    *,
    authority: Path,
    certificates: Path,
    hosts: Path,
    names: tuple[str, ...] = (),
) -> Bumping:
    """The lines for one way of bumping.

    Args:
        how: `none`: only CONNECT is seen; `sni`: also the name inside TLS, no page is
            shown; `listed`: TLS is opened for the hosts in a file, whose paths are
            seen and pages shown; `full`: for all hosts.
        authority: PEM file with the CA's certificate and key, which clients trust.
        certificates: folder that `security_file_certgen -c` has made.
        hosts: file with server names, one a line.
        names: lines of an ACL that tells listed names inside TLS; their connections end. The
            ICAP server needs none: it is asked about these names in any case.

    Raises:
        SquidConfError: a path cannot be written in squid.conf.
    """
    if how == "none":
        return Bumping("", ())
    port = (
        f" ssl-bump tls-cert={squid_word(str(authority))} generate-host-certificates=on "
        "dynamic_cert_mem_cache_size=4MB"
    )
    steps = {
        "sni": ("ssl_bump splice all",),
        "listed": (
            f'acl inkgate_opened ssl::server_name "{squid_word(str(hosts))}"',
            "ssl_bump bump inkgate_opened",
            "ssl_bump splice all",
        ),
        "full": ("ssl_bump bump all",),
    }
    lines = (
        f"sslcrtd_program {CERTGEN} -s {squid_word(str(certificates))} -M 4MB",
        *names,
        "acl inkgate_step1 at_step SslBump1",
        "ssl_bump peek inkgate_step1",
        *([f"ssl_bump terminate {LISTED_NAME}"] if names else []),
        *steps[how],
        *(_REFUSE_WITHOUT_VERDICT if names else ()),
    )
    return Bumping(port, lines)
