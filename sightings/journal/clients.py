"""The part of a client's address that is journalled: all, its network, or a keyed hash."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from ipaddress import AddressValueError, IPv4Address, IPv6Address, ip_network
from pathlib import Path
from typing import Final

from inkgate.rules.crypto.keys import read_token
from inkgate.sightings.settings import Clients

# Roughly the network of one customer of a provider; in IPv6 one site (RFC 6177).
_V4_BITS: Final = 24
_V6_BITS: Final = 48
_HASH_HEX: Final = 24
KEYGEN: Final = "inkgate-sightings keygen"
_LABEL: Final = b"inkgate/v1 client\0"

Reducer = Callable[[str], str]


def client_reducer(how: Clients, key_file: Path) -> Reducer:
    """The function from a client's address to what is journalled of it.

    Raises:
        KeyFileError: addresses are to be hashed and the key cannot be read.
    """
    if how == "hash":
        key = read_token(key_file, KEYGEN)
        return lambda client: hashed(client, key)
    return truncated if how == "truncate" else str


def truncated(client: str) -> str:
    """The address's network: /24 of IPv4, /48 of IPv6; empty if it is not an address."""
    address = _parse(client)
    if address is None:
        return ""
    bits = _V4_BITS if address.version == 4 else _V6_BITS
    return str(ip_network((address, bits), strict=False))


def hashed(client: str, key: bytes) -> str:
    """A pseudonym: 96 bits of HMAC-SHA-256. The same address has the same one under one key."""
    address = _parse(client)
    text = client if address is None else str(address)
    return "h:" + hmac.digest(key, _LABEL + text.encode(), hashlib.sha256).hex()[:_HASH_HEX]


def _parse(client: str) -> IPv4Address | IPv6Address | None:
    try:
        return IPv4Address(client)
    except AddressValueError:
        pass
    try:
        address = IPv6Address(client.partition("%")[0])
    except AddressValueError:
        return None
    return address.ipv4_mapped or address
