"""Lines for Squid of an earlier inkgate, that show the helper each User-Agent whole."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from inkgate.squid_conf.configuration import Line
from inkgate.squid_conf.finding import Finding

_WHOLE: Final = "%#>ha{User-Agent}"


def agent_findings(lines: Sequence[Line]) -> Iterable[Finding]:
    """What is to be said where a client with long headers keeps all others waiting.

    Args:
        lines: Squid's configuration.
    """
    found = next((x for x in lines if x.name == "external_acl_type" and _WHOLE in x.words), None)
    if found is not None:
        yield Finding(
            "warning",
            f"{found.place}: Squid shows the helper each User-Agent whole, and clients with long "
            "ones keep others waiting",
            "run inkgate squid install, or print the lines anew",
        )
