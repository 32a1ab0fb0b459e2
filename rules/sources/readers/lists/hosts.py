"""Hosts files: an address that leads nowhere, and the names that are sent there (hosts(5))."""

from __future__ import annotations

import ipaddress
import re
from typing import Final

from inkgate.rules.sources.readers.lists.dialect import OWN_NAME, Dialect, Line, listed, refused

ANSWERED: Final = "a name with an address that something may answer at"
# What every machine's own file holds.
_OWN: Final = frozenset((
    "localhost", "localhost.localdomain", "localhost4", "localhost6", "local", "broadcasthost",
    "ip6-localhost", "ip6-loopback", "ip6-localnet", "ip6-mcastprefix", "ip6-allnodes",
    "ip6-allrouters", "ip6-allhosts", "localhost4.localdomain4", "localhost6.localdomain6",
    "0.0.0.0",  # noqa: S104 (a line of hosts files, nothing is bound)
))  # fmt: skip
# Words of prose after an address are a remark without a sign, and no names.
_ALIAS: Final = re.compile(r"[\w.-]+(?:\.|[\w-])", re.ASCII)
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
    foreign = [name for name in names if name.lower() not in _OWN]
    if not names or not all(map(_is_alias, foreign)):
        return None
    return _listed(words[0], foreign)


def _listed(address: str, names: list[str]) -> Line | None:
    if address in _OWN_ADDRESSES or address.startswith("fe80::") or not names:
        return OWN_NAME
    # Names without a dot are those of the machine and its neighbours.
    dotted = [name for name in names if "." in name.strip(".")]
    if leads_nowhere(address):
        return listed("domain", *dotted) if dotted else OWN_NAME
    # In a list of addresses the words after one are a remark.
    return refused(ANSWERED) if dotted else None


def _is_alias(word: str) -> bool:
    """Whether a word can be a name in a hosts file, also one without a dot."""
    return bool(_ALIAS.fullmatch(word)) and not _is_address(word)


def begins_with_address(text: str) -> bool:
    """Whether a line is one of a hosts file, whatever follows."""
    words = text.split(maxsplit=1)
    return len(words) > 1 and not words[1].startswith("#") and _is_address(words[0])


def _marks(text: str) -> bool:
    words = text.split()
    return len(words) > 1 and _is_address(words[0]) and words[1].lower() == "localhost"


def _is_address(word: str) -> bool:
    if word == "0":
        return True
    try:
        ipaddress.ip_address(word.partition("%")[0])
    except ValueError:
        return False
    return True


def leads_nowhere(word: str) -> bool:
    """Whether nothing answers at an address: it is none, or that of the machine itself."""
    if word == "0":
        return True
    address = ipaddress.ip_address(word.partition("%")[0])
    return address.is_unspecified or address.is_loopback


DIALECT: Final = Dialect("hosts", parse, marks=_marks)
