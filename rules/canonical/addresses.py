"""Canonical forms of addresses and networks (docs/format.md, section 2.2)."""

from __future__ import annotations

import ipaddress
import re
from typing import Final

from inkgate.rules.canonical.refused import Refused

_DOTTED_QUAD: Final = re.compile(
    r"(?:(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)\.){3}(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)", re.ASCII
)
# WHATWG URL, "ends in a number checker", and inet_aton(3) for what the numbers may be.
_NUMBER: Final = re.compile(r"(?:0x[0-9a-f]*|[0-9]+)", re.ASCII | re.IGNORECASE)
_ATON_PART: Final = re.compile(r"(?:0x[0-9a-f]*|0[0-7]*|[1-9][0-9]*)", re.ASCII | re.IGNORECASE)
_MAX_DIGITS: Final = 11  # 2^32 in octal
_DECIMAL_PARTS: Final = re.compile(r"\d+(?:\.\d+)*", re.ASCII)
_LAST_32_BITS: Final = tuple(
    map(ipaddress.IPv6Network, ("64:ff9b::/96", "64:ff9b:1::/48", "::/96", "::ffff:0:0:0/96"))
)
# How the canonical text of each of them begins: most servers' is told apart by that alone.
_EMBEDDING: Final = ("64:ff9b:", "2002:", "2001:0:", "2001::", "::")
_MAPPED_BITS: Final = 96  # ::ffff:0:0/96 holds all of IPv4
_MAX_SPECIAL: Final = 1  # `::` and `::1` hold nothing
_PADDED: Final = re.compile(r"(?:^|\.)0\d", re.ASCII)


def ends_in_number(name: str) -> bool:
    """Whether a host must be an IPv4 address because its last label is a number."""
    return _NUMBER.fullmatch(name.rpartition(".")[2]) is not None


def canonical_address(text: str) -> str:
    """An IPv4 or IPv6 address: dotted quad, or RFC 5952 without brackets and zone.

    Raises:
        Refused: it is not an address.
    """
    if _DOTTED_QUAD.fullmatch(text):
        return text
    text = _without_brackets(text)
    if ":" in text:
        return _v6(text.partition("%")[0])
    return _v4(text)


def canonical_network(text: str) -> str:
    """An address, or a network `address/length` with its host bits cleared.

    Raises:
        Refused: it is neither.
    """
    address, slash, length = text.strip().partition("/")
    is_mapped = ":" in address
    address = canonical_address(address)
    if not slash:
        return address
    length = length.strip()
    if not length.isascii() or not length.isdigit() or len(length) > _MAX_DIGITS:
        raise Refused("not a network")
    bits = int(length)
    if is_mapped and ":" not in address:
        # Of fewer bits it would hold more than IPv4 addresses.
        bits -= _MAPPED_BITS
    try:
        network = ipaddress.ip_network((address, bits), strict=False)
    except ValueError:
        raise Refused("not a network") from None
    return (
        str(network.network_address) if network.prefixlen == network.max_prefixlen else str(network)
    )


def embedded_v4(address: str) -> str | None:
    """The IPv4 address that a canonical IPv6 address leads to.

    Those of NAT64 (RFC 6052, RFC 8215; of 64:ff9b:1::/48 the last 32 bits), 6to4 (RFC 3056),
    Teredo (RFC 4380), and addresses that are IPv4-compatible or -translated (RFC 4291, RFC 2765).
    """
    if ":" not in address or not address.startswith(_EMBEDDING):
        return None
    whole = ipaddress.IPv6Address(address)
    if whole.sixtofour:
        return str(whole.sixtofour)
    if whole.teredo:
        return str(whole.teredo[1])
    if any(whole in network for network in _LAST_32_BITS) and int(whole) > _MAX_SPECIAL:
        return str(ipaddress.IPv4Address(int(whole) & 0xFFFFFFFF))
    return None


def check_unambiguous(text: str) -> None:
    """Refuse an indicator like 192.0.2.010: octal for a browser, decimal for whoever padded it.

    Raises:
        Refused: it has parts with leading zeros.
    """
    address = _without_brackets(text.partition("/")[0])
    if _DECIMAL_PARTS.fullmatch(address) and _PADDED.search(address):
        raise Refused("an address with leading zeros")


def network_of(address: str, length: int) -> str:
    """The canonical network of a canonical address with a prefix length."""
    if length == (128 if ":" in address else 32):
        return address
    return str(ipaddress.ip_network((address, length), strict=False))


def _without_brackets(text: str) -> str:
    text = text.strip()
    return text[1:-1] if text.startswith("[") and text.endswith("]") else text


def _v6(text: str) -> str:
    try:
        address = ipaddress.IPv6Address(text)
    except ValueError:
        raise Refused("not an IP address") from None
    return str(address.ipv4_mapped or address)


def _v4(text: str) -> str:
    """The forms of inet_aton(3), as WHATWG URL's IPv4 parser reads them."""
    parts = text.split(".")
    if len(parts) > 4 or not all(map(_ATON_PART.fullmatch, parts)):
        raise Refused("not an IP address")
    *first, last = (_number(part) for part in parts)
    if any(number > 255 for number in first) or last >= 256 ** (4 - len(first)):
        raise Refused("not an IP address")
    value = last + sum(number << 8 * (3 - place) for place, number in enumerate(first))
    return str(ipaddress.IPv4Address(value))


def _number(part: str) -> int:
    part = part.lower()
    base = 16 if part.startswith("0x") else 8 if part.startswith("0") else 10
    digits = part.removeprefix("0x").lstrip("0")
    return int(digits or "0", base) if len(digits) <= _MAX_DIGITS else 1 << 32
