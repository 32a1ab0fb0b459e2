"""How the thesis's and the paper's tools write values before they seal or look up one.

The thesis's own normalisation differs from ours (docs/format.md, section 2), so its
rules are only found by values that went through it. For URLs it stands on url-normalize,
whose versions differ (`inkgate.rules.foreign.url_versions`).
"""

from __future__ import annotations

import contextlib
import ipaddress
import re
from typing import Final
from urllib.parse import urldefrag

from inkgate.rules.foreign.rule import Values
from inkgate.rules.foreign.url_versions import NEWEST, VERSIONS

URL_TYPES: Final = frozenset(("url", "uri", "link"))
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
    """The observed values as the thesis's code may have written them, each spelling once.

    That is with each version of url-normalize; with names and digests in lower case, which
    its code does not change and MISP usually has so; and with addresses as they were given,
    since its code of before May 2017 took them so.
    """
    versions = VERSIONS if URL_TYPES.intersection(values) else (NEWEST,)
    spellings: list[Values] = []
    for version in versions:
        spelt = {name: thesis_value(name, value, version) for name, value in values.items()}
        lowered = {name: _lowered(name, value) for name, value in spelt.items()}
        unchanged = {name: values[name] if "ip-" in name else spelt[name] for name in spelt}
        for spelling in (spelt, lowered, unchanged):
            if spelling not in spellings:
                spellings.append(spelling)
    return spellings


def paper_spellings(values: Values) -> list[Values]:
    """The paper's tool takes values as they are; it calls a port after its address."""
    also = {
        f"{side}-port": values["port"]
        for side in ("src", "dst")
        if "port" in values and f"ip-{side}" in values
    }
    return [{**values, **also}]


def thesis_value(name: str, value: str, version: str = NEWEST) -> str:
    """A value as the thesis's code normalises it for an attribute type.

    Args:
        version: of url-normalize, a key of `VERSIONS`.
    """
    if name in URL_TYPES and "..org" not in value:
        # The value comes from outside: if the library fails on it, it stays as it is.
        with contextlib.suppress(Exception):
            return _thesis_url(value, version)
        return value
    if name == "hostname":
        return value.lower()
    return _address(value) if "ip-" in name else value


def _thesis_url(url: str, version: str) -> str:
    """url-normalize, then fragment, index page, scheme and a leading `www.` cut off."""
    normal = urldefrag(VERSIONS[version](url))[0]
    for page in _INDEX_PAGES:
        normal = page.sub("", normal)
    return _SCHEME.sub("", normal)


def _address(text: str) -> str:
    with contextlib.suppress(ValueError):
        return str(ipaddress.ip_network(text) if "/" in text else ipaddress.ip_address(text))
    return text


def _lowered(name: str, value: str) -> str:
    named = name in ("domain", "hostname", "ip") or _DIGESTS.fullmatch(name)
    return value.lower() if named else value
