"""Whether the ICAP server answers, asked without Squid.

With `fail = "open"` Squid lets requests pass while it does not, and no answer of Squid's says
why.
"""

from __future__ import annotations

import socket
import time
import urllib.parse
from typing import Final

from inkgate.squid_conf.finding import Finding
from inkgate.squid_conf.icap import REVIVAL_SECONDS

SECONDS: Final = 3.0
REMEDY: Final = (
    "start inkgate-icap (as a service: docs/icap.md), or see in its log why it does not answer; "
    f"Squid asks it again within {REVIVAL_SECONDS} s: then check again"
)
CLOSED: Final = "closes connections at once (see [icap] allow and allow_users)"
"""It may serve Squid all the same, whose user is another one than the check's."""
_PORTS: Final = {"icap": 1344, "icaps": 11_344}
_MOST: Final = 4096


def icap_finding(service: str, *, fails_open: bool) -> Finding | None:
    """What is wrong with the ICAP server; None if it answers.

    Args:
        service: its address, as in `icap://127.0.0.1:1344`.
        fails_open: what Squid does then.
    """
    problem = _problem(service)
    if not problem:
        return None
    then = (
        "Squid lets everything pass meanwhile (bypass=on)"
        if fails_open
        else "Squid refuses everything meanwhile (bypass=off)"
    )
    return Finding("critical", f"the ICAP server {service} {problem}: {then}", REMEDY)


def _problem(service: str, seconds: float = SECONDS) -> str:
    url = urllib.parse.urlsplit(service)
    address = url.hostname or "", url.port or _PORTS.get(url.scheme, _PORTS["icap"])
    try:
        with socket.create_connection(address, seconds) as connection:
            # Over TLS Squid has a certificate of its own, perhaps, that nobody has here.
            return _silence(connection, service, seconds) if url.scheme == "icap" else ""
    except TimeoutError:
        return f"cannot be reached within {seconds:.0f} s"
    except (ConnectionResetError, BrokenPipeError):
        return CLOSED
    except OSError as error:
        return f"cannot be reached ({error.strerror or 'no such host'})"


def _silence(connection: socket.socket, service: str, seconds: float) -> str:
    host = urllib.parse.urlsplit(service).netloc
    text = f"OPTIONS {service.rstrip('/')}/reqmod ICAP/1.0\r\nHost: {host}\r\n\r\n"
    connection.sendall(text.encode("ascii", "replace"))
    until, data = time.monotonic() + seconds, b""
    while b"\r\n" not in data and len(data) < _MOST:
        connection.settimeout(max(0.01, until - time.monotonic()))
        try:
            piece = connection.recv(_MOST)
        except TimeoutError:
            return f"takes connections, and is silent for {seconds:.0f} s"
        if not piece:
            return CLOSED
        data += piece
    first = data.split(b"\r\n", 1)[0]
    if first.startswith(b"ICAP/1.0 200"):
        return ""
    return f"answers {first[:60].decode('ascii', 'replace')!r}"
