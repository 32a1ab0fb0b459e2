"""The lines that make a Squid ask inkgate (squid.conf manual: external_acl_type, deny_info)."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from inkgate.blocked_page.page import PAGE
from inkgate.blocked_page.settings import SquidSettings
from inkgate.squid_conf.launching import Launching
from inkgate.squid_conf.word import squid_word

# Squid looks templates up below its own folder; enough steps up lead to the root from
# wherever that is, and the package's folders stay as they are.
_TO_ROOT: Final = "../" * 8
# A large cache costs Squid more than it saves (docs/decisions/0045).
_CACHE: Final = 1000
PRINTED: Final = "# Made by inkgate-squid-conf. Put it before your http_access allow lines."
LOG_FORMAT: Final = "%ts.%03tu %6tr %>a %Ss/%03>Hs %<st %rm %ru %[un %Sh/%<a %mt inkgate=%ea"


def fragment(
    settings: SquidSettings, *, launching: Launching, pages: Path, log: str, header: str = PRINTED
) -> str:
    """A drop-in for Squid's configuration.

    Args:
        settings: section `[squid_conf]`.
        launching: what Squid starts.
        pages: the folder with the blocked page.
        log: Squid's access log, or empty for none of our own.
        header: a comment for the first line.

    Raises:
        SquidConfError: a path cannot be written in squid.conf.
    """
    # Without it, Squid's own last field (%DATA, here always "-") takes its place.
    agent = " %#>ha{User-Agent}" if settings.user_agent else ""
    page = _TO_ROOT + squid_word(str(pages / PAGE)).lstrip("/")
    lines = [
        header,
        (
            f"external_acl_type inkgate ttl={settings.ttl} negative_ttl={settings.negative_ttl} "
            f"cache={_CACHE} children-max={settings.children} children-startup=0 children-idle=1 "
            "concurrency=1000 queue-size=10000 "
            f"%METHOD %#URI %>a %<a{agent} "
            f"{' '.join(squid_word(word) for word in launching.words())}"
        ),
        "acl inkgate_listed external inkgate",
        f"deny_info {page} inkgate_listed",
        "http_access deny inkgate_listed",
    ]
    if settings.replies:
        lines += [
            "# Once more when the server's address is known.",
            "http_reply_access deny inkgate_listed",
        ]
    if log:
        lines += [
            "# The incident id, as on the blocked page and in the journal.",
            f"logformat inkgate {LOG_FORMAT}",
            f"access_log {squid_word(log)} inkgate",
        ]
    return "\n".join(lines) + "\n"
