"""Whether Squid may answer from its cache (squid.conf manual: cache).

What is in the cache was judged when it came, and is not looked up again by its server's
address or its content. `cache deny all` keeps Squid from storing, and from answering with what
it has stored before.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from inkgate.blocked_page.settings import SquidSettings
from inkgate.squid_conf.configuration import Line
from inkgate.squid_conf.finding import Finding

_NAMES: Final = ("cache", "no_cache")
_DENY_ALL: Final = ("deny", "all")


def cache_lines(settings: SquidSettings) -> list[str]:
    """The lines for squid.conf.

    Args:
        settings: section `[squid_conf]`.
    """
    if settings.cache:
        return []
    return [
        "# Nothing from Squid's cache: what is in it was judged by the rules of its time.",
        "cache deny all",
    ]


def cache_findings(lines: Sequence[Line], settings: SquidSettings) -> Iterable[Finding]:
    """What is to be said of a Squid that answers from its cache although it should not.

    Args:
        lines: its configuration.
        settings: section `[squid_conf]`.
    """
    if settings.cache:
        return
    first = next((line for line in lines if line.name in _NAMES), None)
    if first is None or first.words != _DENY_ALL:
        place = f"{first.place}: `{first.said}`" if first else "squid.conf has no `cache deny all`"
        yield Finding(
            "warning",
            f"{place}: Squid answers from its cache, and [squid_conf] cache is false",
            "run inkgate squid install, and leave no other `cache` line before its lines",
        )
