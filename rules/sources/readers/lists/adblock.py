"""Filter lists of ad blockers, as far as they name whole hosts (AdGuard's DNS syntax)."""

from __future__ import annotations

import re
from typing import Final

from inkgate.rules.sources.readers.lists.dialect import EXCEPTION, Dialect, Line, listed, refused
from inkgate.rules.sources.readers.lists.guess import guess_type, written

_HOST_RULE: Final = re.compile(r"\|\|([^/^$|*]+)\^?\|?(?:\$(.*))?")
_URL_RULE: Final = re.compile(r"\|(https?://[^|^*$]+)\|")
# Modifiers that leave a rule one for all requests to the host.
_HARMLESS: Final = frozenset(("important", "all", "document", "doc", ""))
_COSMETIC: Final = ("##", "#@#", "#?#", "#$#", "#%#", "$$")


def parse(text: str) -> Line | None:
    """What a filter says."""
    if text.startswith("@@"):
        return EXCEPTION
    if any(sign in text for sign in _COSMETIC):
        return refused("a filter of parts of pages")
    if rule := _HOST_RULE.fullmatch(text):
        return _of_host(rule[1], rule[2] or "")
    if url := _URL_RULE.fullmatch(text):
        return listed("url", url[1])
    if text.startswith(("|", "/")) or text.endswith(("^", "|")) or "^$" in text:
        return refused("a filter with a pattern")
    return None


def _of_host(host: str, modifiers: str) -> Line:
    if set(modifiers.split(",")) - _HARMLESS:
        return refused("a filter of some requests only")
    kind = guess_type(host)
    return listed(kind, written(kind, host)) if kind else refused("a filter without a host")


def _marks(text: str) -> bool:
    return text.startswith(("[Adblock", "[uBlock", "[AdGuard", "! Title:", "!#"))


DIALECT: Final = Dialect("adblock", parse, ("!", "[", "# "), _marks)
