"""The lines that make a Squid ask inkgate (squid.conf manual: external_acl_type, deny_info)."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from inkgate.blocked_page.page import PAGES
from inkgate.blocked_page.settings import SquidSettings
from inkgate.blocked_page.wording import Kind
from inkgate.helper.protocol import ASK_SERVER, NOTE
from inkgate.squid_conf.bump import LISTED_NAME
from inkgate.squid_conf.launching import Launching
from inkgate.squid_conf.word import squid_word

# Squid looks templates up below its own folder; enough steps up lead to the root from
# wherever that is, and the package's folders stay as they are.
_TO_ROOT: Final = "../" * 8
# A large cache costs Squid more than it saves (docs/decisions/0045).
_CACHE: Final = 1000
# What waits does so in the helper, in turns by client; Squid's own queue has one turn for all.
# More than [helper] pending by default (docs/decisions/0048).
_CONCURRENCY: Final = 25_000
# Squid takes 0.3 s of its one thread for a hundred headers of 60 KB that it shows whole. No rule
# is of more than 8,192 bytes (rules.canonical), of which each may be three characters here; with
# one more it is still seen that the header was longer.
_AGENT_CHARACTERS: Final = 3 * 8_200
NAMES: Final = "inkgate_names"
PRINTED: Final = "# Made by inkgate-squid-conf. Put it before your http_access allow lines."
LOG_FORMAT: Final = "%ts.%03tu %6tr %>a %Ss/%03>Hs %<st %rm %ru %[un %Sh/%<a %mt inkgate=%ea"


def fragment(
    settings: SquidSettings, *, launching: Launching, pages: Path, log: str, header: str = PRINTED
) -> str:
    """A drop-in for Squid's configuration.

    Args:
        settings: section `[squid_conf]`.
        launching: what Squid starts.
        pages: the folder with the pages.
        log: Squid's access log, or empty for none of our own.
        header: a comment for the first line.

    Raises:
        SquidConfError: a path cannot be written in squid.conf.
    """
    # In place of the header Squid's own last field, which is always "-" here.
    shown = f"%#.{_AGENT_CHARACTERS}>ha{{User-Agent}}" if settings.user_agent else "%DATA"
    # Known with the server's address. That of the URI may be another, where Squid takes
    # connections of clients that do not know of it.
    port = " %<p" if settings.replies else ""
    lines = [
        header,
        _helper(settings, launching, "inkgate", f"%METHOD %#URI %>a %<a {shown}{port}"),
        "# Squid shows the page of the ACL that it asked last. Without a verdict it stops at the",
        "# first one, whose page does not say that the address is dangerous.",
        *_acls(pages, "inkgate", "request"),
        "http_access deny inkgate_verdict inkgate_listed",
        "# Squid would tell users where the pages lie.",
        f"acl inkgate_page rep_header X-Squid-Error /({'|'.join(PAGES.values())})",
        "reply_header_access X-Squid-Error deny inkgate_page",
    ]
    if settings.replies:
        lines += [
            "# Once more when the server's address is known, or the answer comes from a cache. The",
            "# word at the end keeps Squid from repeating what it was told at the request.",
            *_acls(pages, "inkgate_reply", "reply", " reply"),
            "http_reply_access deny inkgate_reply_verdict inkgate_reply_listed",
            "# A host that led to a listed address: what is in Squid's cache may be from there.",
            f"acl inkgate_ask_server note {NOTE}_ {ASK_SERVER}",
            "send_hit deny inkgate_ask_server",
        ]
    return "\n".join([*lines, *_log_lines(log)]) + "\n"


def _log_lines(log: str) -> list[str]:
    if not log:
        return []
    return [
        "# The incident id, as on the blocked page and in the journal.",
        f"logformat inkgate {LOG_FORMAT}",
        f"access_log {squid_word(log)} inkgate",
    ]


def name_lines(settings: SquidSettings, launching: Launching) -> tuple[str, ...]:
    """Lines by which Squid asks the helper for the name inside TLS, for `ssl_bump`.

    Args:
        settings: section `[squid_conf]`.
        launching: what Squid starts.

    Raises:
        SquidConfError: a path cannot be written in squid.conf.
    """
    return (
        "# The name that a client asks for inside TLS (SNI), which may be another than CONNECT's.",
        _helper(settings, launching, NAMES, "%METHOD %ssl::>sni %>a %<a %DATA %>rP"),
        f"acl {LISTED_NAME} external {NAMES}",
    )


def _helper(settings: SquidSettings, launching: Launching, name: str, shown: str) -> str:
    return (
        f"external_acl_type {name} ttl={settings.ttl} negative_ttl={settings.negative_ttl} "
        f"cache={_CACHE} children-max={settings.children} children-startup=0 children-idle=1 "
        f"concurrency={_CONCURRENCY} queue-size=10000 {shown} "
        f"{' '.join(squid_word(word) for word in launching.words())}"
    )


def _acls(pages: Path, name: str, kind: Kind, word: str = "") -> list[str]:
    """The two ACLs of a check, each with its page; the helper is shown the word, too."""
    shown: tuple[tuple[str, Kind], ...] = (("verdict", "unavailable"), ("listed", kind))
    return [
        line
        for acl, page in shown
        for line in (
            f"acl {name}_{acl} external inkgate{word}",
            f"deny_info {_path(pages / PAGES[page])} {name}_{acl}",
        )
    ]


def _path(page: Path) -> str:
    return _TO_ROOT + squid_word(str(page)).lstrip("/")
