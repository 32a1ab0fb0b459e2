"""Names and URLs as browsers read them, by the cases that others publish.

Each case is equal, different by a rule of docs/format.md, section 2.9, or a fault. What makes
a case different by design is computed here from the case, and no case is named.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from inkgate.rules.canonical import (
    Refused,
    canonical_authority,
    canonical_host,
    canonical_url,
    strip_www,
)

ROOT = Path(__file__).parents[2]
VECTORS = ROOT / "tests" / "vectors"
FORMAT = (ROOT / "docs" / "format.md").read_text()

EQUAL: Final = "equal"
DIFFERENT: Final = "different"
SCHEMES: Final = ("http", "https", "ftp", "ws", "wss")

# Code points that UTS #46 refuses in Unicode 15.0, which the vendored table is of, and takes or
# maps in later ones: letters and hangul fillers since 16.0, musical signs and vowels that are
# ignored since 16.0, and blocks that 17.0 and 18.0 filled.
SINCE_UNICODE_15_0: Final = (
    (0x10A0, 0x10CD), (0x04C0, 0x04C0), (0x2132, 0x2132), (0x2183, 0x2183), (0x115F, 0x1160),
    (0x3164, 0x3164), (0xFFA0, 0xFFA0), (0x17B4, 0x17B5), (0x1D173, 0x1D17A),
    (0x323B0, 0x3347F), (0x3D000, 0x3FC3F),
)  # fmt: skip


def cases(path: str) -> list[dict[str, Any]]:
    rows = json.loads((VECTORS / path).read_text())
    found = [row for row in rows if isinstance(row, dict)]
    assert found
    return found


def read(form: Callable[[str], Any], text: str) -> Any:
    """What a canonical form makes of a text, or None if it is refused."""
    try:
        return form(text)
    except Refused:
        return None


def host_of(text: str) -> str | None:
    host = read(canonical_host, text)
    return host.value if host else None


# Names


def without_dots(name: str) -> str:
    return re.sub(r"\.{2,}", ".", name.strip("."))


def has_lengths_of_dns(name: str) -> bool:
    return len(name) <= 253 and all(1 <= len(label) <= 63 for label in name.split("."))


def unicode_label(label: str) -> str | None:
    """What an A-label stands for, if it stands for anything."""
    try:
        return label.removeprefix("xn--").encode().decode("punycode")
    except (ValueError, OverflowError):
        return None


def is_sound(label: str) -> bool:
    """Whether an A-label is the one that what it stands for is mapped to."""
    decoded = unicode_label(label)
    return decoded is not None and host_of(decoded) == label


def is_newer(text: str) -> bool:
    return any(low <= ord(c) <= high for c in text for low, high in SINCE_UNICODE_15_0)


def why_other_name(expected: str, ours: str | None) -> str:
    """Why we write a name otherwise, or refuse it."""
    bare = without_dots(expected)
    if bare != expected and ours == (bare or None):
        return "dots"
    if bare != expected and ours is None and re.fullmatch(r"0x[0-9a-f]*|\d+", bare.split(".")[-1]):
        return "dots"
    if ours is None and re.search(r"[^a-z0-9._-]", expected):
        return "characters"
    if ours is None and not has_lengths_of_dns(bare):
        return "length"
    return DIFFERENT


def why_name_taken(given: str, ours: str) -> str:
    """Why we take a name that browsers refuse."""
    labels = [label for label in ours.split(".") if label.startswith("xn--")]
    # Only such as came in ASCII: what we made ourselves is sound.
    if any(label in given.lower() and not is_sound(label) for label in labels):
        return "A-labels"
    if is_newer(given) or any(is_newer(unicode_label(label) or "") for label in labels):
        return "newer Unicode"
    if given.startswith("[") and "%" in given:
        return "zone"
    if ".." in given and canonical_host(given).kind == "ip":
        return "dots"
    return DIFFERENT


def verdict_of_name(given: str, expected: str | None, ours: str | None) -> str:
    if ours == expected:
        return EQUAL
    if expected is not None:
        return why_other_name(expected, ours)
    assert ours is not None
    return why_name_taken(given, ours)


# URLs

AROUND = "".join(map(chr, range(0x21)))


def verdict_of_url(row: dict[str, Any]) -> str:
    """The verdict on one case of urltestdata.json."""
    given = row["input"].strip(AROUND).translate({9: None, 10: None, 13: None})
    href = None if row.get("failure") else row["href"]
    scheme, colon, rest = given.partition(":")
    is_absolute = bool(colon and re.fullmatch(r"[a-z][a-z0-9+.-]*", scheme, re.IGNORECASE))
    if is_absolute and scheme.lower() not in SCHEMES:
        return "scheme"
    if not is_absolute or needs_base(scheme.lower(), rest, row.get("base")):
        return verdict_of_relative(href)
    return verdict_of_absolute(row["input"], href, rest)


def needs_base(scheme: str, rest: str, base: str | None) -> bool:
    """Whether `http:path` is relative, since its base is of the same scheme."""
    return (base or "").startswith(scheme + ":") and not re.match(r"[/\\]{2}", rest)


def verdict_of_relative(href: str | None) -> str:
    """Of a relative URL only what becomes of it can be compared."""
    if href is None:
        return "relative"
    if href.partition(":")[0] not in SCHEMES:
        return "scheme"
    return verdict_of_absolute(href, href, href.partition(":")[2])


def verdict_of_absolute(given: str, href: str | None, rest: str) -> str:
    host = re.split(r"[/\\?#]", rest.lstrip("/\\"), maxsplit=1)[0].rpartition("@")[2]
    if not host.startswith("["):
        host = host.partition(":")[0]
    authority = read(canonical_authority, given)
    ours = authority.host.value if authority else None
    if href is None:
        # A host that browsers refuse, or another part that they do.
        return EQUAL if read(canonical_url, given) is None else verdict_of_name(host, None, ours)
    verdict = verdict_of_name(host, host_in(href), ours)
    if verdict != EQUAL or read(canonical_url, given) == read(canonical_url, href):
        return verdict
    if any("\ud800" <= character <= "\udfff" for character in given):
        return "half characters"
    return DIFFERENT


def host_in(href: str) -> str:
    """The host of a URL that a browser wrote."""
    authority = re.split(r"[/?#]", href.partition("://")[2], maxsplit=1)[0].rpartition("@")[2]
    return re.sub(r":\d*$", "", authority).strip("[]")


# Safe Browsing


def verdict_of_safe_browsing(row: dict[str, Any]) -> str:
    """The verdict on one case; our form has no scheme, which is no difference."""
    expected = row["output"].partition("://")[2]
    url = read(canonical_url, row["input"])
    host, slash, path = expected.partition("/")
    if url is None:
        return "characters" if re.search(r"[^a-z0-9.-]", host) else DIFFERENT
    for reason, form in ours_by_reason(row["input"], host, slash + path):
        if url.value == form:
            return reason
    return DIFFERENT


def ours_by_reason(given: str, host: str, path: str) -> Iterator[tuple[str, str]]:
    """The forms that rules of ours make of an expected one."""
    yield EQUAL, host + path
    yield "www", strip_www(host) + path
    yield "empty query", strip_www(host) + path.removesuffix("?")
    port = re.search(r"//[^/]*(:\d+)", given)
    if port:
        yield "port", strip_www(host) + port[1] + path


TABLES: Final[dict[str, tuple[Callable[[dict[str, Any]], str], dict[str, int]]]] = {
    "wpt/IdnaTestV2.json": (
        lambda row: verdict_of_name(row["input"], row["output"], host_of(row["input"])),
        {"equal": 1293, "A-labels": 587, "dots": 84, "newer Unicode": 55, "length": 13},
    ),
    "wpt/toascii.json": (
        lambda row: verdict_of_name(row["input"], row["output"], host_of(row["input"])),
        {"equal": 24, "length": 7, "A-labels": 6, "dots": 2},
    ),
    "wpt/urltestdata.json": (
        verdict_of_url,
        {
            "equal": 438,
            "scheme": 348,
            "relative": 18,
            "A-labels": 7,
            "dots": 5,
            "characters": 2,
            "half characters": 1,
            "zone": 1,
        },
    ),
    "safe-browsing/canonical.json": (
        verdict_of_safe_browsing,
        {"equal": 14, "www": 12, "characters": 5, "port": 1, "empty query": 1},
    ),
}


@pytest.mark.parametrize("path", TABLES)
def test_published_cases(path: str) -> None:
    verdict, expected = TABLES[path]
    rows = cases(path)
    assert [row for row in rows if verdict(row) == DIFFERENT] == []
    assert dict(Counter(map(verdict, rows))) == expected


# Reasons that no published case has: a URL, what we read, and what a browser makes of it (None:
# it refuses it), by the URL Standard.
UNPUBLISHED: Final = {
    "brackets": ("http://[192.0.2.1]/", "192.0.2.1/", None),
    "number behind a scheme": ("http:8080", "http:8080/", "http://0.0.31.144/"),
    "layers of escapes": ("http://%2541.example/", "a.example/", None),
    "Bidi rule": ("http://0\u00e0.\u05d0/", "xn--0-sfa.xn--4db/", None),
}


@pytest.mark.parametrize("reason", UNPUBLISHED)
def test_reason_without_a_published_case(reason: str) -> None:
    url, ours, browsers = UNPUBLISHED[reason]
    assert canonical_url(url).value == ours
    assert browsers is None or canonical_url(browsers).value != ours


def test_reasons_are_those_of_the_format() -> None:
    section = FORMAT.partition("### 2.9 ")[2].partition("\n## ")[0]
    listed = set(re.findall(r"^\| ([\w -]+) \|", section, re.MULTILINE)) - {"reason"}
    used = {reason for _, counts in TABLES.values() for reason in counts}
    assert used - {EQUAL} | set(UNPUBLISHED) == listed
