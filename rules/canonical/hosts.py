"""Hosts: a name or an address, whichever the text turns out to be."""

from __future__ import annotations

from typing import Literal, NamedTuple

from inkgate.rules.canonical.addresses import canonical_address, ends_in_number
from inkgate.rules.canonical.names import clean_name


class Host(NamedTuple):
    """A canonical name or address."""

    kind: Literal["name", "ip"]
    value: str


def canonical_host(text: str) -> Host:
    """Canonicalise a host as it stands in a URL (WHATWG URL, host parser).

    Raises:
        Refused: it is neither a name nor an address.
    """
    if text.startswith("[") or text.count(":") > 1:
        return Host("ip", canonical_address(text))
    name = clean_name(text)
    if ends_in_number(name):
        return Host("ip", canonical_address(name))
    return Host("name", name)
