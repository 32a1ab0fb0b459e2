"""Configurations of dnsmasq that keep names from being resolved (dnsmasq(8))."""

from __future__ import annotations

import re
from typing import Final

from inkgate.rules.sources.readers.lists import hosts
from inkgate.rules.sources.readers.lists.dialect import EXCEPTION, Dialect, Line, listed, refused

_OPTION: Final = re.compile(r"(?:--)?(address|server|local)=/(.+)/([^/]*)")
_OTHER: Final = re.compile(r"(?:--)?[a-z][a-z0-9-]*(?:=\S.*)?")


def parse(text: str) -> Line | None:
    """What an option says."""
    option = _OPTION.fullmatch(text)
    if option is None:
        if "." not in text.partition("=")[0] and "=" in text and _OTHER.fullmatch(text):
            return Line(skipped="another option of dnsmasq")
        return None
    name, domains, target = option.groups()
    if name == "server" and target:
        # Asked elsewhere, or `#`: by the usual servers, which takes a name out of the list.
        return EXCEPTION
    if name == "address" and target not in ("", "#") and not _is_sink(target):
        return refused(hosts.ANSWERED)
    names = [domain for domain in domains.split("/") if domain]
    if not names or names == ["#"]:
        return refused("an option for all names")
    return listed("domain", *names)


def _is_sink(target: str) -> bool:
    try:
        return hosts.leads_nowhere(target)
    except ValueError:
        return False


DIALECT: Final = Dialect("dnsmasq", parse, ("#",))
