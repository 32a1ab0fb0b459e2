"""One request, read by several programs: a listed file is found under each reading."""

from __future__ import annotations

import json
import random
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inkgate.rules.canonical import Refused, canonical_url, observed_url
from inkgate.rules.canonical.url_readings import READINGS
from support.request_targets import targets

CASES = json.loads((Path(__file__).parents[1] / "vectors/readings/paths.json").read_text())
PIECES = st.lists(
    st.sampled_from(["/", "..", ".", "\\", "%2f", "%5c", "%2e", "%25", ";", "?", "a", "b", "//"])
)


@pytest.mark.parametrize("case", CASES, ids=[case["url"] for case in CASES])
def test_url_is_looked_up_under_every_reading(case: dict[str, str | list[str]]) -> None:
    assert list(observed_url(str(case["url"]))) == case["values"]


@pytest.mark.parametrize("case", CASES, ids=[case["url"] for case in CASES])
def test_listed_url_is_sealed_as_browsers_ask_for_it(case: dict[str, str | list[str]]) -> None:
    assert canonical_url(str(case["url"])).value == case["values"][0]


@given(PIECES)
def test_what_is_listed_is_found_when_it_is_asked_for_as_written(pieces: list[str]) -> None:
    url = "http://host.example/" + "".join(pieces)
    listed = canonical_url(url).value
    assert listed in observed_url(url)
    assert canonical_url(listed).value == listed
    assert len(observed_url(url)) <= 2 * len(READINGS)


def test_changed_target_has_few_readings() -> None:
    draw = random.Random(22)
    for target in islice(targets(draw), 2000):
        try:
            found = observed_url("http://host.example" + target.decode("utf-8", "surrogateescape"))
        except Refused:
            continue
        assert 1 <= len(found) <= 2 * len(READINGS)


def test_plain_url_has_one_reading() -> None:
    for path in ("", "a", "a/b.c", "a//b", "a%20b", "a\\b", "%7Eme/index.html", "a/./b"):
        assert len(observed_url(f"http://host.example/{path}")) == 1
