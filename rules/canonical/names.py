"""Canonical forms of host and domain names (docs/format.md, section 2.1)."""

from __future__ import annotations

import re
from typing import Final

from inkgate.rules.canonical.addresses import ends_in_number
from inkgate.rules.canonical.escapes import unescape
from inkgate.rules.canonical.refused import Refused, check_size

_LABEL: Final = r"[a-z0-9_-]{1,63}"
_NAME: Final = re.compile(rf"{_LABEL}(?:\.{_LABEL})*", re.ASCII)
_LAST_NOT_NUMBER: Final = re.compile(
    rf"(?:{_LABEL}\.)*(?!0x[0-9a-f]*$)[a-z0-9_-]*[a-z_-][a-z0-9_-]*", re.ASCII
)
_MAX_NAME: Final = 253
_MAX_LABEL: Final = 63
# What is mapped may be longer than what it is mapped to: soft hyphens vanish.
_MAX_UNMAPPED: Final = 1024
_FULL_STOPS: Final = str.maketrans("\u3002\uff0e\uff61", "...")


def canonical_name(text: str) -> str:
    """A host or domain name in lower-case A-labels without dots around it.

    Raises:
        Refused: it is not a name (an address is not one either).
    """
    if len(text) <= _MAX_NAME and _NAME.fullmatch(text) and not ends_in_number(text):
        return text
    name = clean_name(text)
    if ends_in_number(name):
        raise Refused("an IP address, not a name")
    return name


def clean_name(text: str) -> str:
    """Undo disguises of a host; what comes out has the form of a name, or of an IPv4 address.

    Raises:
        Refused: it cannot be a host.
    """
    if len(text) <= _MAX_NAME and _NAME.fullmatch(text):
        return text
    check_size(text)
    try:
        name = unescape(text.encode()).decode()
    except UnicodeError:
        raise Refused("not a host name") from None
    name = _dots(name.translate(_FULL_STOPS)).lower()
    if not name.isascii():
        name = _dots(_to_ascii(name))
    if len(name) > _MAX_NAME or not _NAME.fullmatch(name):
        raise Refused("not a host name")
    return name


def longest_suffix(text: str) -> str:
    """What is left of an observed host that is not a name: its last labels that are sound.

    A proxy forwards `x!.listed.example`, and a wildcard in the DNS answers for it; what
    stands before the dot must not hide what stands behind it.

    Raises:
        Refused: not even its last label could be one of a name.
    """
    check_size(text)
    try:
        raw = unescape(text.encode("utf-8", "surrogateescape"))
    except UnicodeEncodeError:
        # Half a character, which stands for no byte of any input.
        raise Refused("not a host name") from None
    labels = raw.decode("utf-8", "replace").translate(_FULL_STOPS).split(".")
    found: list[str] = []
    room = _MAX_NAME + len(".")
    for label in reversed(list(filter(None, labels))):
        try:
            name = clean_name(label)
        except Refused:
            break
        room -= len(name) + len(".")
        if room < 0:
            break
        found.append(name)
    if not found or ends_in_number(found[0]):
        raise Refused("not a host name")
    return ".".join(reversed(found))


def suffixes(name: str) -> tuple[str, ...]:
    """A name's suffixes, from its last two labels (or the only one) to all of it."""
    if name.count(".") < 2:
        return (name,)
    labels = name.split(".")
    return tuple(".".join(labels[i:]) for i in range(len(labels) - 2, -1, -1))


def parents(name: str) -> tuple[str, ...]:
    """A name and all names above it, down to its last label."""
    labels = name.split(".")
    return tuple(".".join(labels[i:]) for i in range(len(labels)))


def _dots(name: str) -> str:
    return re.sub(r"\.{2,}", ".", name.strip(".")) if "." in name else name


def _to_ascii(name: str) -> str:
    # Imported here: few hosts need them, and they are half of the helper's start-up time.
    from stringprep import in_table_b1  # noqa: PLC0415
    from unicodedata import normalize  # noqa: PLC0415

    from idna import IDNAError, uts46_remap  # noqa: PLC0415
    from url_normalize.normalize_host import normalize_host  # noqa: PLC0415

    if len(name) > _MAX_UNMAPPED:
        raise Refused("not a host name")
    try:
        mapped = uts46_remap(name, std3_rules=False)
    except IDNAError:
        # Then names are prepared by IDNA 2003, which uses this.
        mapped = normalize("NFKC", name)
    # Punycode takes time that grows with the square of the length, and makes no label shorter
    # but by what IDNA 2003 maps to nothing.
    mapped = _dots("".join(sign for sign in mapped if not in_table_b1(sign)))
    if len(mapped) > _MAX_NAME or any(len(label) > _MAX_LABEL for label in mapped.split(".")):
        raise Refused("not a host name")
    try:
        return str(normalize_host(name)).lower()
    except (UnicodeError, ValueError, IndexError):
        raise Refused("not a host name") from None
