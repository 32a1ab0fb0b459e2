"""Configurations of unbound that keep names from being resolved (unbound.conf(5))."""

from __future__ import annotations

import re
from typing import Final

from inkgate.rules.sources.readers.lists import hosts
from inkgate.rules.sources.readers.lists.dialect import (
    EXCEPTION,
    REMARK,
    Dialect,
    Line,
    listed,
    refused,
)

_ZONE: Final = re.compile(r"""local-zone:\s*["']?([^\s"']+)["']?\s+["']?([a-z_]+)["']?""")
_DATA: Final = re.compile(
    r"""local-data:\s*["']([^\s"']+)\s+(?:\d+\s+)?(?:IN\s+)?(\S+)\s+([^\s"']+).*["']"""
)
_OTHER: Final = re.compile(r"[a-z-]+:(?:\s.*)?")
_BLOCKING: Final = frozenset((
    "always_deny", "always_null", "always_nxdomain", "always_nodata", "always_refuse", "deny",
    "inform_deny", "inform_redirect", "redirect", "refuse", "static",
))  # fmt: skip


def parse(text: str) -> Line | None:
    """What a line of a configuration says."""
    text = re.split(r"\s#", text, maxsplit=1)[0].rstrip()
    zone = _ZONE.fullmatch(text)
    if zone:
        return listed("domain", zone[1].rstrip(".")) if zone[2] in _BLOCKING else EXCEPTION
    data = _DATA.fullmatch(text)
    if data:
        if data[2].upper() in ("A", "AAAA"):
            try:
                is_sink = hosts.leads_nowhere(data[3])
            except ValueError:
                is_sink = False
            if not is_sink:
                return refused(hosts.ANSWERED)
            return listed("hostname", data[1].rstrip("."))
        return Line(skipped="another record of unbound")
    if text in ("server:", "include:"):
        return REMARK
    return Line(skipped="another option of unbound") if _OTHER.fullmatch(text) else None


DIALECT: Final = Dialect("unbound", parse, ("#",))
