"""The log from which the messages are counted that Squid let pass past the ICAP server.

With `fail = "open"` Squid lets pass what it gets no answer to (`bypass=on`), and what comes
while it holds the server to be down. It says neither. Each of the server's answers names its
method, so a line of the log shows who has answered last (docs/decisions/0112).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, Literal

from inkgate.blocked_page.settings import SquidSettings
from inkgate.squid_conf.configuration import Line
from inkgate.squid_conf.finding import Finding
from inkgate.squid_conf.icap_order import lets_pass
from inkgate.squid_conf.word import squid_word

BYPASSES_PROGRAM: Final = "inkgate-bypasses"
"""What the service calls itself in log and counters."""
BYPASS_FORMAT: Final = "%ts.%03tu %Ss/%03>Hs %adapt::all_trs %{X-Inkgate-Point}adapt::<last_h"
"""Squid's logformat: how the transaction ended, milliseconds of each ICAP transaction, and who
answered last. Neither client nor URL."""

_FORMAT: Final = "inkgate_bypass"
_FIELDS: Final = 4

Passed = Literal["request", "reply"]
"""What of a transaction passed without an answer."""


def bypass_lines(log: str) -> list[str]:
    """The lines by which Squid logs what is needed to tell.

    Args:
        log: the log file.

    Raises:
        SquidConfError: the path cannot be written in squid.conf.
    """
    return [
        "# Whether each request was answered, for `inkgate squid bypasses`.",
        f"logformat {_FORMAT} {BYPASS_FORMAT}",
        f"access_log daemon:{squid_word(log)} {_FORMAT}",
    ]


def bypass_findings(
    lines: Sequence[Line], settings: SquidSettings, service: str
) -> Iterable[Finding]:
    """What is to be said where messages may pass unanswered, and nobody could count them.

    Args:
        lines: Squid's configuration.
        settings: section `[squid_conf]`.
        service: the ICAP server's address.
    """
    is_logged = any(line.name == "access_log" and _FORMAT in line.words for line in lines)
    if settings.bypasses and not is_logged and lets_pass(lines, service):
        yield Finding(
            "warning",
            "squid.conf does not log which messages pass while the ICAP server does not answer "
            "(bypass=on): nobody can count them",
            "run inkgate squid install, or empty [squid_conf] bypasses",
        )


def passed_unanswered(line: bytes) -> Passed | None:
    """What passed past the ICAP server in the transaction of a line of the log, if anything did.

    Squid asks about a request, and about the reply if one comes. Of what it answers itself
    (refusals, errors) and of clients that have gone away before anything was sent to them,
    nothing passed.
    """
    fields = line.split()
    if len(fields) != _FIELDS:
        return None
    result, _, status = fields[1].partition(b"/")
    if not result.startswith(b"TCP_") or result.startswith(b"TCP_DENIED") or status == b"000":
        return None
    asked, last = fields[2], fields[3]
    if last == b"-":
        return "request"
    return "reply" if last == b"REQMOD" and asked.count(b",") else None
