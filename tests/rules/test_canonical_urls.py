"""Canonical URLs: the tricks to survive, and the laws that every form keeps.

The disguises are those of the canonicalisation cases that Google's Safe Browsing
documentation lists, on our own reserved names; the expected forms are ours
(docs/format.md, section 2.3).
"""

from __future__ import annotations

import contextlib
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inkgate.rules.canonical import Refused, canonical_authority, canonical_url

SAME = [
    ("http://host.example/%25%32%35", "host.example/%25"),
    ("http://host.example/%25%32%35%25%32%35", "host.example/%25%25"),
    ("http://host.example/%2525252525252525", "host.example/%25"),
    ("http://host.example/asdf%25%32%35asd", "host.example/asdf%25asd"),
    ("http://host.example/%%%25%32%35asd%%", "host.example/%25%25%25asd%25%25"),
    ("http://www.host.example/", "host.example/"),
    (
        "http://%31%39%32%2e%30%2e%32%2e%32%36/%2E%73%65%63%75%72%65/%77%77%77/",
        "192.0.2.26/.secure/www/",
    ),
    ("http://192.0.2.11/up/%20%20/.verify/.a=b-c", "192.0.2.11/up/%20%20/.verify/.a=b-c"),
    (
        "http://host.example/%257Ea%2521b%2540c%2523d%2524e%25f%2500%255E00%252611%252A22%252B",
        "host.example/~a!b@c%23d$e%25f%00^00&11*22+",
    ),
    ("http://3221225995/blah", "192.0.2.11/blah"),
    ("http://host.example/blah/..", "host.example/"),
    ("www.host.example/", "host.example/"),
    ("www.host.example", "host.example/"),
    ("http://www.host.example/blah#frag", "host.example/blah"),
    ("http://www.HOSt.example/", "host.example/"),
    ("http://www.host.example.../", "host.example/"),
    ("http://...www..host.example/", "host.example/"),
    ("http://host.example/foo\tbar\rbaz\n2", "host.example/foobarbaz2"),
    ("ht\ntp://ho\tst.example/", "host.example/"),
    ("http://host.example/q?", "host.example/q"),
    ("http://host.example/q?r?", "host.example/q?r?"),
    ("http://host.example/q?r?s", "host.example/q?r?s"),
    ("http://host.example/foo#bar#baz", "host.example/foo"),
    ("http://host.example/foo;", "host.example/foo;"),
    ("http://host.example/foo?bar;", "host.example/foo?bar;"),
    ("http://host.example:1234/", "host.example:1234/"),
    ("  http://host.example/  ", "host.example/"),
    ("https://host.example/", "host.example/"),
    ("http://host.example/ab%23cd", "host.example/ab%23cd"),
    ("http://host.example//two?more//slashes", "host.example/two?more//slashes"),
    ("http://host.example:80/", "host.example/"),
    ("https://host.example:0443/", "host.example/"),
    ("ftp://host.example:21/x", "host.example/x"),
    ("http://user:pass@host.example/", "host.example/"),
    ("http://good.example@host.example/", "host.example/"),
    ("http://good.example:80\\@host.example/", "good.example/@host.example/"),
    ("http:\\\\host.example\\a\\b", "host.example/a/b"),
    ("http:/host.example/", "host.example/"),
    ("wss:/host.example/", "host.example/"),
    ("ws:host.example/", "host.example/"),
    ("ws:8080/", "ws:8080/"),
    ("http://host.example:" + "0" * 40 + "8080/", "host.example:8080/"),
    ("http://host.example:" + "0" * 40 + "/", "host.example:0/"),
    ("http:host.example/", "host.example/"),
    ("//host.example/", "host.example/"),
    ("host.example:8080/x", "host.example:8080/x"),
    ("http://host.example/a/index.html", "host.example/a/"),
    ("http://host.example/index.php?x=1", "host.example/?x=1"),
    ("http://host.example/Default.aspx", "host.example/Default.aspx"),
    ("http://host.example/a/./b/../../c", "host.example/c"),
    ("http://host.example/%2e%2e/%2E/x", "host.example/x"),
    ("http://host.example/a%2Fb", "host.example/a/b"),
    ("http://host.example/a%3Fb", "host.example/a%3Fb"),
    ("http://host.example/ü", "host.example/%C3%BC"),
    ("http://host.example/%c3%bc", "host.example/%C3%BC"),
    ("http://bücher.example/", "xn--bcher-kva.example/"),
    ("http://b%C3%BCcher.example/", "xn--bcher-kva.example/"),
    ("http://host\u3002example/", "host.example/"),
    ("http://0xC0.0x00.02.013/", "192.0.2.11/"),
    ("http://192.0.523/", "192.0.2.11/"),
    ("http://[2001:DB8::0:1]:8080/", "[2001:db8::1]:8080/"),
    ("http://[::ffff:192.0.2.11]/", "192.0.2.11/"),
    ("http://www.www.host.example/", "host.example/"),
    ("http://www.example/", "www.example/"),
]

REFUSED = [
    "",
    "http://",
    "/path/only",
    "?",
    "mailto:someone@host.example",
    "javascript:alert(1)",
    "http://host.example:99999/",
    "http://host.example:80x/",
    "http://\x01\x80.example/",
    "http:// leadingspace.example/",
    "http://host%23.example/",
    "http://a..b.example:x/",
    "http://1.2.3.4.5/",
    "http://192.0.2.256/",
    "http://[2001:db8::g]/",
    "http://[2001:db8::1/",
    f"http://{'a' * 64}.example/",
    f"http://{'a.' * 130}example/",
    "http://host.example/" + "a" * 9000,
]


@pytest.mark.parametrize(("url", "expected"), SAME)
def test_disguises(url: str, expected: str) -> None:
    assert canonical_url(url).value == expected


@pytest.mark.parametrize("url", REFUSED)
def test_what_cannot_be_a_url_is_refused(url: str) -> None:
    with pytest.raises(Refused) as refused:
        canonical_url(url)
    assert refused.value.reason
    assert "example" not in refused.value.reason


pieces = st.sampled_from(
    [
        "http",
        "https",
        "ftp",
        "://",
        ":",
        "/",
        "//",
        "\\",
        "?",
        "#",
        "@",
        "%",
        "%25",
        "%2e",
        "%2F",
        "%3f",
        "..",
        ".",
        "www.",
        "index.html",
        "default.asp",
        "host.example",
        "a",
        "0x7f",
        "1",
        "127",
        "[::1]",
        "[",
        "]",
        ":80",
        ":8080",
        "ü",
        "。",
        "\t",
        "\n",
        "\x00",
        "&",
        "=",
        ";",
        "%zz",
        "%C3%BC",
        "25",
        "41",
    ]
)
urls = st.lists(pieces, max_size=14).map("".join) | st.text(max_size=60)


@given(urls)
def test_canonical_form_is_a_fixed_point(url: str) -> None:
    try:
        once = canonical_url(url)
    except Refused:
        return
    assert canonical_url(once.value) == once
    without_query = once.value.partition("?")[0]
    assert canonical_url(without_query).value == without_query
    assert canonical_url("http://" + once.value) == once
    assert once.value.isascii()


@given(urls)
def test_authority_is_read_the_same_way(url: str) -> None:
    try:
        once = canonical_url(url)
    except Refused:
        return
    assert canonical_authority(url).host.value.endswith(once.host.value)


@given(st.text(alphabet=st.characters(min_codepoint=0, max_codepoint=0xFFFF), max_size=200))
def test_only_refused_is_ever_raised(url: str) -> None:
    for text in (url, "http://" + url, "http://host.example/" + url):
        with contextlib.suppress(Refused):
            canonical_url(text)


@given(st.text(alphabet="abcdefghij.%/?&=~-", max_size=40), st.data())
def test_any_escaping_of_a_path_is_the_same_url(path: str, data: st.DataObject) -> None:
    def disguise(character: str) -> str:
        if character in "/?%":
            return character
        layers = data.draw(st.integers(0, 2))
        return {0: character, 1: f"%{ord(character):02x}", 2: f"%25{ord(character):02X}"}[layers]

    plain = "http://host.example/" + path.replace("%", "")
    disguised = "http://host.example/" + "".join(map(disguise, path.replace("%", "")))
    assert canonical_url(plain) == canonical_url(disguised)


@pytest.mark.parametrize(
    "tail",
    ["%25" * 2700 + "41", "../a/" * 1600, "%2525%41" * 1000, "%" * 8000, "%2%35" * 1600,
     "%%32%35" * 1150, "%25%32%35" * 900, "/" * 8000, "index.html/" * 700],
)  # fmt: skip
def test_hostile_urls_cost_little(tail: str) -> None:
    started = time.process_time()
    canonical_url("http://host.example/" + tail)
    # A bound for blow-ups (they would take seconds), not a measurement.
    assert time.process_time() - started < 0.5
