"""What type a lone value has, and how one value may be written besides as itself."""

from __future__ import annotations

import ipaddress
import re
from typing import Final

from inkgate.rules.canonical.defang import refang
from inkgate.rules.canonical.refused import MAX_VALUE_BYTES

_DIGESTS: Final = {32: "md5", 40: "sha1", 56: "sha224", 64: "sha256", 96: "sha384", 128: "sha512"}
_QUAD: Final = r"(?:\d{1,3}\.){3}\d{1,3}"
_ADDRESS: Final = re.compile(rf"{_QUAD}(?:/\d{{1,2}})?")
_MASKED: Final = re.compile(rf"({_QUAD})/({_QUAD})")
_ADDRESS_PORT: Final = re.compile(rf"({_QUAD}|\[[0-9a-fA-F:.]+\]):(\d{{1,5}})")
# With two colons in it.
_ADDRESS6: Final = re.compile(r"\[?[0-9a-fA-F.]*(?::[0-9a-fA-F.]*){2,}\]?(?:/\d{1,3})?")
_LABEL: Final = r"[^\s/:@?#|,;\"'<>()\[\]{}^$.]+"
_NAME: Final = re.compile(rf"[.*]{{0,2}}{_LABEL}(?:\.{_LABEL})+\.?")
_NAME_PORT: Final = re.compile(rf"({_NAME.pattern}):(\d{{1,5}})")
_HEX: Final = re.compile(r"[0-9a-fA-F]+")
_EMAIL: Final = re.compile(r"[^\s/@]+@[^\s/@.]+(?:\.+[^\s/@.]+)+\.*")
_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]*:[/\\]{2}\S", re.IGNORECASE)
# Most lines of most lists, so it is asked first.
_USUAL_NAME: Final = re.compile(r"(?:[A-Za-z0-9_-]+\.)+[A-Za-z][A-Za-z0-9-]*")
_NUMBERS: Final = re.compile(r"[\d-]+")
# No URL holds these as they are: they part or enclose URLs, or stand for any text. (A request
# that holds a `*` itself is no reason to seal one that matches nothing else.)
_NOT_OF_A_URL: Final = re.compile(r"[\s\"<>*]")
# Parts of a range without brackets, as feeds of networks write them.
_RANGE: Final = re.compile(r"([0-9a-fA-F:.]+)\s*-\s*([0-9a-fA-F:.]+)")
_MAX_NETWORKS: Final = 64
# In this order: what an earlier pattern takes, a later one would take for something else.
_GUESSES: Final = (
    (_ADDRESS, "ip-dst"),
    (_ADDRESS_PORT, "ip-dst|port"),
    (_NAME_PORT, "hostname|port"),
    (_ADDRESS6, "ip-dst"),
    (_MASKED, "ip-dst"),
)


def guess_type(text: str) -> str:
    """The MISP type that a lone value most likely has; empty if it could be anything.

    Defanged spellings count as what they stand for.
    """
    if len(text) > MAX_VALUE_BYTES:
        return ""
    if _USUAL_NAME.fullmatch(text):
        return "domain"
    text = refang(text)
    for pattern, misp_type in _GUESSES:
        if pattern.fullmatch(text):
            return misp_type
    if _NAME.fullmatch(text):
        # No top-level domain is a number: that is an address that is none, or a range of them.
        return "" if _NUMBERS.fullmatch(text.rstrip(".").rpartition(".")[2]) else "domain"
    if _HEX.fullmatch(text):
        return _DIGESTS.get(len(text), "")
    return _of_path(text)


def _of_path(text: str) -> str:
    if _is_url(text):
        return "url"
    return "email" if _EMAIL.fullmatch(text) else ""


def written(misp_type: str, text: str) -> str:
    """A guessed value as MISP writes it: `|` before a port, a prefix length for a netmask.

    A netmask that is none stays as it is, and is refused where it is sealed.
    """
    if misp_type.endswith("|port") and "|" not in text:
        # Brackets belong to an IPv6 address in a URL, not to the value.
        host, _, port = refang(text).rpartition(":")
        return f"{host.strip('[]')}|{port}"
    masked = _MASKED.fullmatch(refang(text)) if misp_type.startswith("ip-") else None
    if masked:
        return masked_network(masked[1], masked[2]) or text
    return text


def masked_network(address: str, mask: str) -> str:
    """`address/mask` with a prefix length; empty if the mask is none."""
    try:
        return str(ipaddress.IPv4Network(f"{address}/{mask}", strict=False))
    except ValueError:
        return ""


def networks_of_range(text: str) -> tuple[str, ...] | None:
    """The networks of `first - last`; None if it is no range of addresses, or a huge one."""
    found = _RANGE.fullmatch(text)
    if not found:
        return None
    one, other = found.groups()
    if other.isdecimal() and "." in one:
        # Only the last byte is written anew.
        other = f"{one.rpartition('.')[0]}.{other}"
    try:
        first, last = map(ipaddress.ip_address, (one, other))
        networks = ipaddress.summarize_address_range(first, last)
        made = tuple(str(network) for _, network in zip(range(_MAX_NETWORKS + 1), networks))  # noqa: B905
    except (ValueError, TypeError):
        return None
    return made if 0 < len(made) <= _MAX_NETWORKS else None


def _is_url(text: str) -> bool:
    if _NOT_OF_A_URL.search(text):
        return False
    if _SCHEME.match(text):
        return True
    host, slash, _ = text.partition("/")
    # A path alone is met by no request.
    return bool(host and slash) and guess_type(host) in (
        "domain", "ip-dst", "ip-dst|port", "hostname|port"
    )  # fmt: skip
