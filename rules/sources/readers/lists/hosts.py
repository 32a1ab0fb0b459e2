"""Hosts files: an address that leads nowhere, and the names that are sent there (hosts(5))."""

from __future__ import annotations

import ipaddress
from typing import Final

from inkgate.rules.sources.readers.lists.dialect import OWN_NAME, Dialect, Line, listed, refused

# What every machine's own file holds.
_OWN: Final = frozenset((
    "localhost", "localhost.localdomain", "localhost4", "localhost6", "local", "broadcasthost",
    "ip6-localhost", "ip6-loopback", "ip6-localnet", "ip6-mcastprefix", "ip6-allnodes",
    "ip6-allrouters", "ip6-allhosts", "localhost4.localdomain4", "localhost6.localdomain6",
    "0.0.0.0",  # noqa: S104 (a line of hosts files, nothing is bound)
))  # fmt: skip
_OWN_ADDRESSES: Final = (
    "255.255.255.255", "fe00::0", "ff00::0", "ff02::1", "ff02::2", "ff02::3",
)  # fmt: skip


def parse(text: str) -> Line | None:
    """What a line says that begins with an address and goes on with names."""
    words = text.split()
    if len(words) < 2 or not _is_address(words[0]):
        return None
    names = []
    for word in words[1:]:
        name, sign, _ = word.partition("#")
        if name:
            names.append(name)
        if sign:
            break
    if not names or not all(map(_is_name, set(names) - _OWN)):
        return None
    if words[0] in _OWN_ADDRESSES or words[0].startswith("fe80::"):
        return OWN_NAME
    if not _leads_nowhere(words[0]):
        return refused("a name with an address that something may answer at")
    foreign = [name for name in names if name.lower() not in _OWN]
    return listed("domain", *foreign) if foreign else OWN_NAME


def _is_name(word: str) -> bool:
    return "." in word.strip(".") and not ("/" in word or ":" in word or _is_address(word))


def _is_address(word: str) -> bool:
    if word == "0":
        return True
    try:
        ipaddress.ip_address(word.partition("%")[0])
    except ValueError:
        return False
    return True


def _leads_nowhere(word: str) -> bool:
    if word == "0":
        return True
    address = ipaddress.ip_address(word.partition("%")[0])
    return address.is_unspecified or address.is_loopback


DIALECT: Final = Dialect("hosts", parse)
