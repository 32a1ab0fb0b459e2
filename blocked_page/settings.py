"""Section `[squid_conf]` of inkgate.toml."""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

FrontEnds = Literal["helper", "icap", "both"]

_ICAP: Final = re.compile(r"icaps?://[^\s/?#]+/?")


class SquidSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What goes into Squid's configuration and the blocked page.

    Attributes:
        organisation: whose proxy it is, on the blocked page.
        contact: whom to ask, on the blocked page: an address, a number or a URL.
        template: file with the operator's own HTML of the pages; empty for inkgate's.
        pages: the folder with the blocked page.
        ttl: seconds for which Squid repeats "listed" without asking.
        negative_ttl: seconds for which Squid repeats "not listed" without asking.
        children: helper processes at most.
        launcher: the folder with the launcher, which Squid starts in place of the helper.
        front_ends: whom Squid is to ask: the helper, the ICAP server, or both.
        client_proxy_file: a file with the proxy's address as a client has it, with user and
            password (`http://user:password@proxy:3128`), for the check. Empty: none.
        check_result: the file with what the last check through the proxy found.
        tunnels: the log of tunnels, for `inkgate squid tunnels`; empty: none.
        bypasses: the log of what Squid let pass past the ICAP server, for `inkgate squid
            bypasses`; empty: none.
        user_agent: show User-Agent headers to the helper.
        replies: look up the server's address when the reply comes.
        cache: whether Squid may answer from its cache.
        request_buffer_mib: how much of an upload a Squid before 6.13 may hold; 0 leaves that
            to Squid, which breaks off what is longer while it waits.
        icap: the ICAP server, as in `icap://192.0.2.1:1344`; empty means `[icap] listen`.
        bump_authority: PEM file with certificate and key of the CA for opened TLS.
        bump_certificates: folder in which Squid keeps the certificates that it makes.
        bump_hosts: file with the server names for `--bump listed`.
    """

    organisation: str = ""
    contact: str = ""
    template: str = ""
    pages: str = "/etc/inkgate/pages"
    ttl: Annotated[int, Meta(ge=0, le=86_400)] = 60
    negative_ttl: Annotated[int, Meta(ge=0, le=86_400)] = 10
    children: Annotated[int, Meta(ge=1, le=64)] = 2
    launcher: str = "/usr/local/lib/inkgate"
    front_ends: FrontEnds = "helper"
    client_proxy_file: str = ""
    check_result: str = "/var/lib/inkgate/squid-check.json"
    tunnels: str = "/var/log/squid/inkgate-tunnels.log"
    bypasses: str = "/var/log/squid/inkgate-bypasses.log"
    user_agent: bool = True
    replies: bool = True
    cache: bool = True
    request_buffer_mib: Annotated[int, Meta(ge=0, le=255)] = 4
    icap: str = ""
    bump_authority: str = "/etc/inkgate/bump-ca.pem"
    bump_certificates: str = "/var/spool/squid/inkgate-certificates"
    bump_hosts: str = "/etc/inkgate/bump-hosts"

    def __post_init__(self) -> None:
        if self.icap and not _ICAP.fullmatch(self.icap):
            raise ValueError("icap is an address as in icap://192.0.2.1:1344")
