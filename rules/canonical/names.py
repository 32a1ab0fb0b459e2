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
# As it is written: three escapes for each of the bytes of such a name, and some more.
_MAX_WRITTEN: Final = 4096
# Labels that a host may have which browsers refuse and IDNA 2003 does not: each costs twice.
_MAX_UNUSUAL: Final = 16
_MAX_PREPARED: Final = 256
# Combining marks in a row: Python sorts them in time that grows with the square of their number.
_MAX_MARKS: Final = 32
# RFC 3454, table B.1, and what UTS #46 ignores.
_VANISHING_SIGNS: Final = (
    "\u00ad\u034f\u115f\u1160\u17b4\u17b5\u1806\u180b-\u180f\u200b-\u200d\u2060-\u2064"
    "\u206a-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0100-\U000e01ef"
)
_SOME_VANISHING: Final = re.compile(f"[{_VANISHING_SIGNS}]+")
_MAX_VISIBLE: Final = 512
# A label of nothing else is none; the others are dots after NFKC.
_VANISHING: Final = re.compile(f"[{_VANISHING_SIGNS}\u2024-\u2026\ufe19\ufe30\ufe52]*")
_JOINER: Final = re.compile("[\u200c\u200d]")
_RIGHT_TO_LEFT: Final = frozenset(("R", "AL", "AN"))
_SIGN: Final = "!"  # of Bidi_Class ON
_FULL_STOPS: Final = "\u3002\uff0e\uff61"
_ALL_DOTS: Final = "." + _FULL_STOPS


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
    text = text.strip(_ALL_DOTS)
    check_size(text, _MAX_WRITTEN)
    try:
        name = unescape(text.encode()).decode()
    except UnicodeError:
        raise Refused("not a host name") from None
    name = _dots(_with_dots(name))
    name = name.lower() if name.isascii() else _to_ascii(name)
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
    text = text.strip(_ALL_DOTS)
    try:
        raw = unescape(text[-_MAX_WRITTEN:].encode("utf-8", "surrogateescape"))
    except UnicodeEncodeError:
        # Half a character, which stands for no byte of any input.
        raise Refused("not a host name") from None
    is_cut = len(text) > _MAX_WRITTEN
    labels = _last_labels(_with_dots(raw.decode("utf-8", "replace")), is_cut=is_cut)
    found: list[str] = []
    room = _MAX_NAME + len(".")
    unusual = _MAX_UNUSUAL
    for label in reversed(labels):
        name = _cleaned(label)
        if name is None and unusual:
            unusual -= 1
            name = _cleaned_as_idna_2003(label)
        if name is None or room < len(name) + len("."):
            break
        if name:
            room -= len(name) + len(".")
            found.append(name)
    if not found or ends_in_number(found[0]):
        raise Refused("not a host name")
    return ".".join(reversed(found))


def _last_labels(text: str, *, is_cut: bool) -> list[str]:
    """The whole labels at the end of a host, of as many characters as a name may have."""
    if is_cut or len(text) > _MAX_UNMAPPED:
        text = text[-_MAX_UNMAPPED:].partition(".")[2]
    return [label for label in text.split(".") if not _VANISHING.fullmatch(label)]


def _cleaned(label: str) -> str | None:
    try:
        return clean_name(label)
    except Refused:
        return None


def _cleaned_as_idna_2003(label: str) -> str | None:
    """What IDNA 2003 makes of a label that browsers refuse; None if that is none, too."""
    if label.isascii() or len(label) > _MAX_PREPARED:
        return None
    try:
        prepared = _dots(_as_idna_2003(label))
    except Refused:
        return None
    return _cleaned(prepared) if prepared else ""


def _as_idna_2003(label: str) -> str:
    """What the preparation of names in IDNA 2003 leaves (RFC 3491, without its checks).

    Raises:
        Refused: it has too many combining marks.
    """
    from stringprep import in_table_b1  # noqa: PLC0415
    from unicodedata import normalize  # noqa: PLC0415

    kept = "".join(sign for sign in label if not in_table_b1(sign))
    _check_marks(kept)
    return normalize("NFKC", kept)


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


def _with_dots(text: str) -> str:
    for character in () if text.isascii() else _FULL_STOPS:
        text = text.replace(character, ".")
    return text


def _dots(name: str) -> str:
    return re.sub(r"\.{2,}", ".", name.strip(".")) if "." in name else name


def _to_ascii(name: str) -> str:
    """The mapping that browsers make of a name: UTS #46, not transitional, hyphens as they are."""
    # Imported here: few hosts need it, and its tables take a helper's start-up time.
    from idna import uts46_remap  # noqa: PLC0415

    visible = _SOME_VANISHING.sub("", name)
    if len(name) > _MAX_UNMAPPED or len(visible) > _MAX_VISIBLE:
        raise Refused("not a host name")
    _check_marks(visible)
    try:
        mapped = _dots(uts46_remap(name, std3_rules=False))
        # The rest of the work is bounded by the length that a name may have.
        if len(mapped) > _MAX_NAME:
            raise Refused("not a host name")
        return ".".join(map(_a_label, mapped.split(".")))
    except ValueError:
        raise Refused("not a host name") from None


def _check_marks(text: str) -> None:
    """Refuse what takes long to normalise, and is no name."""
    if len(text) <= _MAX_MARKS:
        return
    from unicodedata import category  # noqa: PLC0415

    row = 0
    for character in text:
        row = row + 1 if category(character)[0] == "M" else 0
        if row > _MAX_MARKS:
            raise Refused("not a host name")


def _a_label(label: str) -> str:
    """A mapped label in ASCII.

    Raises:
        ValueError: browsers refuse it, too.
    """
    if label.isascii():
        return label
    if len(label) > _MAX_LABEL or label.startswith("xn--"):
        raise Refused("not a host name")
    _check_label(label)
    return "xn--" + label.encode("punycode").decode("ascii")


def _check_label(label: str) -> None:
    """What UTS #46 asks of a label, as far as mapping does not see to it (its section 4.1).

    IDNA2008 asks for more: it refuses emoji and other signs, which names in use have.
    """
    from unicodedata import bidirectional  # noqa: PLC0415

    from idna import check_bidi, check_initial_combiner, valid_contextj  # noqa: PLC0415

    check_initial_combiner(label)
    for found in _JOINER.finditer(label):
        if not valid_contextj(label, found.start()):
            raise Refused("not a host name")
    if any(bidirectional(character) in _RIGHT_TO_LEFT for character in label):
        # Characters newer than Python's tables have no direction, and are no reason to refuse:
        # most are signs, as emoji, and taken for one.
        check_bidi("".join(sign if bidirectional(sign) else _SIGN for sign in label))
