"""A listed IPv4 address that is reached by an IPv6 address which holds it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from inkgate.rules.canonical import Host, canonical_address, embedded_v4
from inkgate.rules.lookup.matcher import Matcher
from support.installation import Installation, attribute

LISTED, BY_PORT, PAIRED, IN_NETWORK = "192.0.2.11", "192.0.2.12", "192.0.2.13", "198.51.100.7"
# What RFC 6052, RFC 8215, RFC 3056, RFC 4380, RFC 4291 and RFC 2765 make of an IPv4 address.
FORMS = {
    "NAT64": "64:ff9b::{0}",
    "NAT64 of a site": "64:ff9b:1::{0}",
    "6to4": "2002:{1}::1",
    "Teredo": "2001:0:4136:e378:8000:63bf:{2}",
    "compatible": "::{0}",
    "translated": "::ffff:0:{0}",
}
OTHERS = (
    "::",
    "::1",
    "2001:db8::c000:20b",
    "64:ff9c::c000:20b",
    "fe80::5efe:c000:20b",
    "192.0.2.11",
)


def embedding(form: str, address: str) -> str:
    number = int.from_bytes(bytes(map(int, address.split("."))))
    hexadecimal, turned = (f"{n >> 16:x}:{n & 0xFFFF:x}" for n in (number, number ^ 0xFFFFFFFF))
    return canonical_address(FORMS[form].format(address, hexadecimal, turned))


@pytest.fixture(scope="module")
def matcher() -> Iterator[Matcher]:
    made = Installation()
    made.add(
        "listed",
        attribute("ip-dst", LISTED),
        attribute("ip-dst|port", f"{BY_PORT}|8080"),
        attribute("domain|ip", f"pair.example|{PAIRED}"),
        attribute("ip-dst", "198.51.100.0/24"),
        attribute("url", f"http://{LISTED}/x.exe"),
    )
    made.refresh()
    yield made.matcher()
    made.close()


@pytest.mark.parametrize("form", FORMS)
def test_address_holds_another(form: str) -> None:
    assert embedded_v4(embedding(form, LISTED)) == LISTED


@pytest.mark.parametrize("address", OTHERS)
def test_address_holds_none(address: str) -> None:
    assert embedded_v4(address) is None


@pytest.mark.parametrize("form", FORMS)
def test_listed_address_is_found_in_another(matcher: Matcher, form: str) -> None:
    address = embedding(form, LISTED)
    verdict = matcher.host(Host("ip", address), 80)
    assert [match.indicator_class for match in verdict.matches] == ["ip-dst"]
    assert verdict.needs_url
    assert matcher.url(f"http://[{address}]/x.exe")
    assert matcher.server_address(address)
    assert matcher.server_address(embedding(form, IN_NETWORK))
    assert not matcher.server_address(embedding(form, "203.0.113.1"))


@pytest.mark.parametrize("form", FORMS)
def test_listed_address_with_its_port_or_name_is_found_in_another(
    matcher: Matcher, form: str
) -> None:
    address = embedding(form, BY_PORT)
    for port, count in ((8080, 1), (80, 0)):
        assert len(matcher.server_address(address, port=port)) == count
        assert len(matcher.host(Host("ip", address), port).matches) == count
    assert matcher.host(Host("ip", address), 80).by_port
    paired = embedding(form, PAIRED)
    assert matcher.server_address(paired, Host("name", "pair.example"))
    assert not matcher.server_address(paired, Host("name", "other.example"))
