"""What a client or a source can make canonical forms cost: steps that grow with the length."""

from __future__ import annotations

import contextlib
import re
import sys
import unicodedata
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given, settings, target
from hypothesis import strategies as st

from inkgate.rules.canonical import Refused, canonical_host
from inkgate.rules.canonical.defang import refang, refang_url
from inkgate.rules.canonical.escapes import unescape
from inkgate.rules.canonical.urls import observed_authority, observed_url

PIECES = ("%25", "%2525", "%%32%35", "%2%35", "%252541", "a%25%32%35", "%", "%32")


def of_size(pieces: str, size: int) -> str:
    return (pieces * size)[:size]


# The last two are undone from the inside, one layer after the other.
ESCAPES: dict[str, Callable[[int], str]] = {
    **{piece: partial(of_size, piece) for piece in PIECES},
    "many %, then as many 25": lambda size: "%" * (size // 3) + "25" * (size // 3),
    "many %3, then 2": lambda size: "%3" * (size // 2) + "2",
}
# Hosts, each of a piece that is repeated.
HOSTS = {
    "labels of one letter": "a.",
    "sound labels": "x" * 60 + ".",
    "one label of ideographs": "\u4e2d\u6587",
    "labels of one ideograph": "\u4e2d.",
    "combining characters": "\u0301\u0323",
    "joiners": "\u200d\u0915",
    "ligatures of eighteen letters": "\ufdfa",
    "soft hyphens": "\u00ad",
    "dots": "..",
    "labels that vanish": "\u200d.",
    "labels that are dots": "\u2024.",
    "layers of escapes": "%25",
    "layers of escaped digits": "31.%25",
    "labels that lose a joiner": "a\u200d.",
    "wide letters": "\uff41.",
}


def lines_of(act: Callable[[], Any]) -> int:
    """How many lines of Python run."""
    count = 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        with contextlib.suppress(Refused):
            act()
    finally:
        sys.settrace(before)
    return count


def undone_layer_by_layer(data: bytes) -> bytes:
    while re.search(rb"%[0-9A-Fa-f]{2}", data):
        data = unquote_to_bytes(data)
    return data


@given(st.lists(st.sampled_from([*PIECES, "2", "5", "4", "1", "F", "a", "x", "\x80"])))
def test_one_pass_undoes_what_layer_by_layer_does(pieces: list[str]) -> None:
    data = "".join(pieces).encode("latin-1")
    assert unescape(data) == undone_layer_by_layer(data)


@pytest.mark.parametrize("made", ESCAPES.values(), ids=ESCAPES)
def test_attack_layers_of_escapes_take_steps_by_length(made: Callable[[int], str]) -> None:
    """8 KB of such layers took half a second of the helper's loop."""

    def steps(size: int) -> int:
        return lines_of(lambda: unescape(made(size).encode()))

    assert steps(8192) < 15 * 8192
    assert steps(8192) < 2.5 * steps(4096) + 100


@pytest.mark.parametrize("made", ESCAPES.values(), ids=ESCAPES)
def test_attack_urls_of_escapes_take_steps_by_length(made: Callable[[int], str]) -> None:
    url = f"http://host.example/{made(8192)}"
    assert lines_of(lambda: observed_url(url)) < 16 * 8192


WAYS_UP = ("/../", "/..;/", "//../", "\\..\\", "/%2e%2e/", "/%252e%252e/", ";", ";/", "%2f", "%5c")


@settings(max_examples=150)
@given(
    st.lists(st.sampled_from([*PIECES, *WAYS_UP, "a", "2", "25"]), min_size=1), st.integers(1, 99)
)
def test_attack_worst_url_that_a_search_finds_takes_steps_by_length(
    pieces: list[str], times: int
) -> None:
    url = "http://host.example/" + ("".join(pieces) * times)[:2048]
    steps = lines_of(lambda: observed_url(url)) / (len(url) + 100)
    target(steps)
    assert steps < 50


@pytest.mark.parametrize("piece", HOSTS.values(), ids=HOSTS)
@pytest.mark.parametrize("end", ["", "!", ".listed.example"])
def test_attack_long_hosts_take_few_steps(piece: str, end: str) -> None:
    """2,700 ideographs took 3.8 s."""
    host = piece * ((8192 - len(end)) // len(piece.encode())) + end
    assert lines_of(lambda: canonical_host(host)) < 30_000
    assert lines_of(lambda: observed_authority(f"http://{host}/")) < 40_000


MARKS = {
    "expanding": "\u0344" * 512 + "\u0f73" * 512,
    "out of order": "\u0344" * 512 + "\u0334" * 512,
    "in turns": "\u094d\u0344" * 500,
    "short": "a" + "\u0301" * 33,
    "for IDNA 2003": "\u200d" + "\u0344" * 300,
}


@pytest.mark.parametrize("marks", MARKS.values(), ids=MARKS)
def test_attack_rows_of_combining_marks_are_never_sorted(
    marks: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """1,024 of them took 22 ms: sorting them is quadratic, and no line of Python counts it."""
    longest = 0
    whole = unicodedata.normalize

    def normalize(form: str, text: str) -> str:
        nonlocal longest
        longest = max(
            longest, *map(len, re.findall("[\u0300-\u036f\u0f71-\u0f81\u094d]+", text)), 0
        )
        return whole(form, text)

    monkeypatch.setattr(unicodedata, "normalize", normalize)
    with pytest.raises(Refused):
        canonical_host(marks)
    authority, is_whole = observed_authority(f"http://{marks}.listed.example/")
    assert (authority.host.value, is_whole) == ("listed.example", False)
    assert longest <= 32


def test_names_with_some_marks_are_names() -> None:
    assert canonical_host("a" + "\u0301" * 32 + ".example").value.startswith("xn--")


@pytest.mark.parametrize("signs", ["[]", "()", '""', "<>"])
@pytest.mark.parametrize("undo", [refang, refang_url])
def test_attack_nested_defanging_is_undone_in_few_rounds(
    signs: str, undo: Callable[[str], str]
) -> None:
    """4,000 brackets around a dot would take as many rounds."""
    text = "\u200b" + signs[0] * 4000 + "." + signs[1] * 4000
    assert lines_of(lambda: undo(text)) < 20_000
    assert undo(undo(text)) == undo(text)


def test_a_misplaced_joiner_hides_no_parent() -> None:
    authority, is_whole = observed_authority("http://я\u200dя.listed.example/")
    # Browsers refuse it, and a client of IDNA 2003 asks for this.
    assert (authority.host, is_whole) == (canonical_host("яя.listed.example"), False)


DISGUISES = {
    "li" + "\u00ad" * 900 + "sted.example": True,
    # IDNA 2003 maps them to nothing or to a dot, and browsers refuse them.
    "listed" + "\u200d" * 200 + ".example": False,
    "listed" + "%E2%80%8C" * 200 + ".example": False,
    "lis\u1806" + "\u200d" * 200 + "ted.example": False,
    "listed.example" + ".\u2024" * 120: False,
    "\u0378." + "\u00ad" * 200 + "listed.example": False,
    "listed.example" + ".\ufe19" * 120: False,
    "listed.example" + ".\ufe30" * 120: False,
    "listed.example" + "." * 5000: True,
    "\uff61" * 5000 + "listed.example": True,
}


@pytest.mark.parametrize("hidden", DISGUISES, ids=range(len(DISGUISES)))
def test_attack_what_vanishes_from_a_name_makes_it_no_longer(hidden: str) -> None:
    authority, is_whole = observed_authority(f"http://{hidden}/")
    assert (authority.host.value, is_whole) == ("listed.example", DISGUISES[hidden])


@pytest.mark.parametrize("dot", [".", "%2e", "\u3002", "%25%32%65"])
@pytest.mark.parametrize("before", ["x" * 9_000, "%31" * 20_000, "\u00ad" * 5_000, "!." * 4_000])
def test_attack_however_long_a_host_is_its_end_is_looked_at(before: str, dot: str) -> None:
    authority, is_whole = observed_authority(f"http://{before}{dot}listed.example/")
    assert (authority.host.value, is_whole) == ("listed.example", False)


def test_long_host_keeps_its_last_labels() -> None:
    assert observed_authority(f"http://x!{'.a' * 100}.listed.example/")[0].host.value.endswith(
        ".a.listed.example"
    )
