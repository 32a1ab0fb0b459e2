"""Canonical names, addresses, digests and texts, and the mending of real spellings."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymisp import AbstractMISP

from inkgate.rules.canonical import (
    Refused,
    canonical_attribute,
    canonical_name,
    canonical_network,
    class_of,
    network_of,
    suffixes,
)
from inkgate.rules.canonical.fields import length_prefixed

MENDED = [
    ("domain", "LISTED.example.", "name", b"listed.example"),
    ("domain", " listed[.]example ", "name", b"listed.example"),
    ("domain", "listed(dot)example", "name", b"listed.example"),
    ("domain", "listed{.}example", "name", b"listed.example"),
    ("domain", "*.listed.example", "name", b"listed.example"),
    ("domain", "hxxp://listed.example/", "name", b"listed.example"),
    ("domain", "\u200blisted.example", "name", b"listed.example"),
    ("domain", '"listed.example"', "name", b"listed.example"),
    ("domain", "192.0.2.1", "ip", b"192.0.2.1"),
    ("domain", "_dmarc.listed.example", "name", b"_dmarc.listed.example"),
    ("hostname", "BÜCHER.example", "name", b"xn--bcher-kva.example"),
    # Browsers' mapping: not transitional, and no more of IDNA2008 than they ask for.
    ("hostname", "ab--c.faß.example", "name", b"ab--c.xn--fa-hia.example"),
    ("hostname", "-x_y-.faß.example", "name", b"-x_y-.xn--fa-hia.example"),
    ("hostname", "_dmarc.bücher.example", "name", b"_dmarc.xn--bcher-kva.example"),
    ("hostname", "FASS.example", "name", b"fass.example"),
    ("hostname", "FAẞ.example", "name", b"xn--fa-hia.example"),
    ("hostname", "ΑΣ.example", "name", b"xn--mxa0b.example"),
    ("hostname", "ας.example", "name", b"xn--mxa8a.example"),
    ("hostname", "i❤.example", "name", b"xn--i-7iq.example"),
    ("hostname", "a≠b.example", "name", b"xn--ab-miv.example"),
    ("hostname", "\uff11\uff19\uff12.0.2.1", "ip", b"192.0.2.1"),
    ("hostname", "\uff58n--fa-hia.example", "name", b"xn--fa-hia.example"),
    # Joiners are letters of Persian and Sinhala, and a disguise elsewhere.
    (
        "hostname",
        "\u0646\u0627\u0645\u0647\u200c\u0627\u06cc.example",
        "name",
        b"xn--mgba3gch31f060k.example",
    ),
    ("hostname", "ශ්\u200dරී.example", "name", b"xn--10cl1a0b660p.example"),
    ("url", "http://ශ්\u200dරී.example/x", "url", b"xn--10cl1a0b660p.example/x"),
    ("domain", "\u200dli\u200csted\u200d.example\u200c", "name", b"listed.example"),
    ("url", "hxxp://li\u200dsted[.]example/x", "url", b"listed.example/x"),
    ("url", "hXXps://www[.]listed[.]example/a", "url", b"listed.example/a"),
    ("url", "hxxp[:]//listed.example", "url", b"listed.example/"),
    ("url", "h**p://listed.example/x", "url", b"listed.example/x"),
    ("url", "<http://listed.example/x>", "url", b"listed.example/x"),
    ("url", "listed.example/x", "url", b"listed.example/x"),
    ("uri", "/gate.php", "text", b"/gate.php"),
    ("ip-dst", "192[.]0[.]2[.]1", "ip", b"192.0.2.1"),
    ("ip-dst", "192.0.2.77/24", "ip", b"192.0.2.0/24"),
    ("ip-dst", "192.0.2.1/32", "ip", b"192.0.2.1"),
    ("ip-src", "2001:DB8:0::1", "ip", b"2001:db8::1"),
    ("ip-dst|port", "192.0.2.1|0443", "ip", length_prefixed(b"192.0.2.1", b"443")),
    ("ip-dst|port", "192.0.2.1:443", "ip", length_prefixed(b"192.0.2.1", b"443")),
    ("domain|ip", "a.example|192.0.2.1", "name", length_prefixed(b"a.example", b"192.0.2.1")),
    ("filename|md5", "a|b.exe|" + "AB" * 16, "digest", length_prefixed(b"a|b.exe", b"ab" * 16)),
    ("malware-sample", "a.exe|" + "AB" * 16, "digest", length_prefixed(b"a.exe", b"ab" * 16)),
    ("sha256", "AB" * 32, "digest", b"ab" * 32),
    ("email-src", "Some.One[at]Phish[.]example", "text", b"some.one@phish.example"),
    ("AS", "AS 64496", "text", b"64496"),
    ("mac-address", "00:00:5E:00:53:01", "text", b"00:00:5e:00:53:01"),
    ("user-agent", " Evil/1.0 ", "text", b"Evil/1.0"),
    ("a-type-of-tomorrow", "x", "text", b"x"),
]

REFUSED = [
    ("domain", "http://listed.example/path"),
    # What browsers refuse, too: joiners out of place, directions mixed, marks in front.
    ("domain", "я\u200dя.example"),
    ("domain", "يa.example"),
    ("domain", "я.\u0301я.example"),
    ("domain", "xn--tešla.example"),
    ("domain", "a\ufffdb.example"),
    ("domain", "a\u2024b.example"),
    ("domain", "ä" * 64 + ".example"),
    ("domain", "two words.example"),
    ("domain", ""),
    ("domain", "listed.example:8080"),
    ("hostname", "-\x00"),
    ("url", "/gate.php"),
    ("ip-dst", "not.an.address"),
    ("ip-dst", "192.0.2.1-192.0.2.9"),
    ("ip-dst", "192.0.2.1/33"),
    ("ip-dst", "192.0.2.1/+8"),
    ("ip-dst|port", "192.0.2.1"),
    ("ip-dst|port", "192.0.2.1|65536"),
    ("domain|ip", "a.example"),
    ("md5", "abc"),
    ("sha256", "zz" * 32),
    ("filename|sha1", "x|" + "ab" * 16),
    ("text", "   "),
    ("text", "x" * 8193),
    ("text", "\udc80"),
    ("no\x00type", "x"),
    ("../../type", "x"),
    ("", "x"),
]


@pytest.mark.parametrize(("misp_type", "text", "kind", "data"), MENDED)
def test_mended(misp_type: str, text: str, kind: str, data: bytes) -> None:
    value = canonical_attribute(misp_type, text)
    assert (value.kind, value.data) == (kind, data)


@pytest.mark.parametrize(("misp_type", "text"), REFUSED)
def test_refused_without_saying_the_value(misp_type: str, text: str) -> None:
    with pytest.raises(Refused) as refused:
        canonical_attribute(misp_type, text)
    assert refused.value.reason
    assert len(text) < 3 or text not in str(refused.value)


def all_misp_types() -> list[str]:
    return sorted(AbstractMISP().describe_types["types"])


SOUND = {
    "name": "listed.example",
    "ip": "192.0.2.1",
    "url": "http://listed.example/x",
    "port": "443",
}


def sound_part(misp_type: str) -> str:
    if lengths := class_of(misp_type).forms[0].lengths:
        return "a1" * (lengths[0] // 2)
    if misp_type in ("domain", "hostname"):
        return "listed.example"
    if misp_type in ("ip", "ip-src", "ip-dst"):
        return "192.0.2.1"
    return {"port": "443", "AS": "64496", "url": "http://a.example/"}.get(
        misp_type, "made.up@a.example"
    )


@pytest.mark.parametrize("misp_type", all_misp_types())
def test_every_misp_type_can_be_sealed(misp_type: str) -> None:
    parts = {"malware-sample": ["filename", "md5"]}.get(misp_type, misp_type.split("|"))
    value = canonical_attribute(misp_type, "|".join(map(sound_part, parts)))
    assert len(value.parts) == len(parts)
    again = canonical_attribute(misp_type, "|".join(value.parts))
    assert again == value


@given(st.sampled_from(all_misp_types()), st.text(max_size=80))
def test_canonical_values_are_fixed_points_and_nothing_else_is_raised(
    misp_type: str, text: str
) -> None:
    try:
        value = canonical_attribute(misp_type, text)
    except Refused:
        return
    try:
        again = canonical_attribute(misp_type, "|".join(value.parts))
    except Refused as refused:
        raise AssertionError(f"{value} is refused: {refused}") from None
    assert again == value


DEFANGED_TYPES = ("domain", "ip-dst", "url", "uri", "email-src", "email-subject")
OF_DEFANGING = (
    *"[](){}.@\\/?#: \"'<>", "[.]", "(dot)", "[at]", "[:]", "[://]", "[/]", "\\.", "//", "hxxp:",
    "h**p:", "meow:", "fxp:", "http://", "listed", ".example", "192.0.2.1", "2001:db8::1", "/24",
    "\xa0", "\xad", "\u200b", "\u200c", "\u200d", "\u201c", "\u201d", "\xe9",
)  # fmt: skip


@settings(max_examples=1000)
@given(st.sampled_from(DEFANGED_TYPES), st.lists(st.sampled_from(OF_DEFANGING), max_size=9))
def test_defanged_values_are_fixed_points_once_they_are_canonical(
    misp_type: str, pieces: list[str]
) -> None:
    """`a[[.]]b@x.example` became `a[.]b@x.example`, and that `a.b@x.example`."""
    try:
        value = canonical_attribute(misp_type, "".join(pieces))
    except Refused:
        return
    assert canonical_attribute(misp_type, *value.parts) == value


labels = st.text(alphabet="abc019-_", min_size=1, max_size=6)


@given(st.lists(labels, min_size=1, max_size=6).map(".".join))
def test_names_are_fixed_points(text: str) -> None:
    try:
        name = canonical_name(text)
    except Refused:
        return
    assert canonical_name(name) == name == canonical_name(name.upper() + ".")


def test_suffixes_go_from_two_labels_to_all() -> None:
    assert suffixes("a.b.c.example") == ("c.example", "b.c.example", "a.b.c.example")
    assert suffixes("c.example") == ("c.example",)
    assert suffixes("localhost") == ("localhost",)


@given(st.ip_addresses(), st.data())
def test_network_of_agrees_with_canonical_network(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address, data: st.DataObject
) -> None:
    length = data.draw(st.integers(0, address.max_prefixlen))
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        return
    assert network_of(str(address), length) == canonical_network(f"{address}/{length}")


@given(st.lists(st.binary(max_size=8), max_size=4), st.lists(st.binary(max_size=8), max_size=4))
def test_length_prefixed_is_injective(one: list[bytes], other: list[bytes]) -> None:
    assert (length_prefixed(*one) == length_prefixed(*other)) == (one == other)
