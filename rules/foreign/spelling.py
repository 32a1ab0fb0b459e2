"""How the thesis's and the paper's tools write values before they seal or look up one.

The thesis's own normalisation differs from ours (docs/format.md, section 2), so its
rules are only found by values that went through it.
"""

from __future__ import annotations

import contextlib
import ipaddress
import re
from collections.abc import Callable
from typing import Final
from urllib.parse import urldefrag

from inkgate.rules.foreign.rule import Values

_URLS: Final = frozenset(("url", "uri", "link"))
_DIGESTS: Final = re.compile(r"md5|sha\d+(?:/\d+)?|imphash|pehash|authentihash")
# In the thesis's code a comma is missing between the last two names, so they are one.
_INDEX_PAGES: Final = tuple(
    re.compile(page + "$")
    for page in (
        "default.asp",
        "index.html",
        "index.php",
        "index.shtmlindex.jsp",
        r"\?",
    )
)
_SCHEME: Final = re.compile(r"^https?://(www.)?")


def thesis_spellings(values: Values) -> list[Values]:
    """The observed values as the thesis's code writes them, and the same in lower case.

    The thesis's code does not change the case of names and digests; MISP and log files
    usually have them in lower case.
    """
    first = {name: thesis_value(name, value) for name, value in values.items()}
    second = {name: _lowered(name, value) for name, value in first.items()}
    return [first] if first == second else [first, second]


def paper_spellings(values: Values) -> list[Values]:
    """The paper's tool takes values as they are; it calls a port after its address."""
    also = {
        f"{side}-port": values["port"]
        for side in ("src", "dst")
        if "port" in values and f"ip-{side}" in values
    }
    return [{**values, **also}]


def thesis_value(name: str, value: str) -> str:
    """A value as the thesis's code normalises it for an attribute type."""
    if name in _URLS and "..org" not in value:
        return thesis_url(value)
    if name == "hostname":
        return value.lower()
    return _address(value) if "ip-" in name else value


def thesis_url(url: str) -> str:
    """url-normalize, then fragment, index page, scheme and a leading `www.` cut off."""
    # Imported here: the import is slow, and only URLs need it.
    from url_normalize import url_normalize  # noqa: PLC0415

    normal = _tolerant(lambda: url_normalize(url))
    if normal is None:
        return url
    normal = urldefrag(normal)[0]
    for page in _INDEX_PAGES:
        normal = page.sub("", normal)
    return _SCHEME.sub("", normal)


def _tolerant(normalise: Callable[[], str | None]) -> str | None:
    # The value comes from outside: if the library fails on it, it stays as it is.
    with contextlib.suppress(Exception):
        return normalise()
    return None


def _address(text: str) -> str:
    with contextlib.suppress(ValueError):
        return str(ipaddress.ip_network(text) if "/" in text else ipaddress.ip_address(text))
    return text


def _lowered(name: str, value: str) -> str:
    named = name in ("domain", "hostname", "ip") or _DIGESTS.fullmatch(name)
    return value.lower() if named else value
