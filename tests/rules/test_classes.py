"""The table of indicator classes: each is found where it says, and nothing is forgotten."""

from __future__ import annotations

import hashlib
import re
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import pytest

from inkgate.rules.canonical.classes import (
    CLASSES,
    FrontEnd,
    IndicatorClass,
    ObservedAt,
    class_of,
    front_ends,
)
from support.icap import Icap
from support.observations import (
    FRONT_ENDS,
    UNLISTED,
    blocked_by_helper,
    blocked_by_icap,
    every_class,
    found_in_log,
    observation,
    observed_by,
)
from support.registry_copy import ROOT, copy_sources

TABLE_FILE = "rules/canonical/classes.py"
TABLE = "inkgate.rules.canonical.classes"
LAST_LINE = '    _one("weakness", UPPER),\n)\n'
NEW_PLACE = '    LOG_FIELD = "field of a log"\n'


class Case(NamedTuple):
    """A class that a front end should find at a place."""

    front_end: FrontEnd
    place: ObservedAt
    name: str


CASES = [
    Case(front_end, place, name)
    for front_end in FRONT_ENDS
    for name in CLASSES
    for place in observed_by(front_end, name)
]


def number_of(name: str) -> int:
    return list(CLASSES).index(name)


@pytest.fixture(scope="module")
def found() -> dict[Case, tuple[bool, bool]]:
    """For each case whether a listed value is found, and whether an unlisted one is."""
    installation = every_class()
    icap = Icap(installation)
    results: dict[Case, tuple[bool, bool]] = {}
    try:
        for front_end in FRONT_ENDS:
            cases = [case for case in CASES if case.front_end == front_end]
            seen = [observation(c.place, c.name, number_of(c.name)) for c in cases]
            seen += [observation(c.place, c.name, UNLISTED) for c in cases]
            if front_end == "helper":
                hits = blocked_by_helper(installation, seen)
            elif front_end == "ICAP":
                hits = blocked_by_icap(icap, seen)
            else:
                lines = found_in_log(installation, seen)
                hits = [c.name in line for c, line in zip([*cases, *cases], lines, strict=True)]
            for n, case in enumerate(cases):
                results[case] = hits[n], hits[len(cases) + n]
    finally:
        icap.close()
        installation.close()
    return results


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c.front_end}-{c.name}-{c.place.name}")
def test_class_is_found_where_the_table_says(
    found: dict[Case, tuple[bool, bool]], case: Case
) -> None:
    assert found[case] == (True, False)


def test_every_place_shows_a_class_to_a_front_end() -> None:
    used = {place for known in CLASSES.values() for place in known.observed_at}
    assert used == set(ObservedAt)
    assert all(front_ends(place) for place in ObservedAt)


def test_what_is_computed_of_a_body_is_what_the_class_is_named_after() -> None:
    of_bodies = (ObservedAt.BODY, ObservedAt.FILE_NAME_WITH_BODY)
    for known in CLASSES.values():
        form = known.forms[-1]
        assert bool(form.algorithm) == any(place in of_bodies for place in known.observed_at)
        if form.algorithm:
            assert form.lengths == (hashlib.new(form.algorithm).digest_size * 2,)
            named = "md5" if known.name == "malware-sample" else known.name.rpartition("|")[2]
            assert form.algorithm == re.sub("[-/]", "_", named)


def test_unknown_types_are_text_that_only_a_log_can_show() -> None:
    for name, kinds in (
        ("a-type-of-tomorrow", ["text"]),
        ("regkey|tomorrow", ["text", "text"]),
        ("ip-dst|tomorrow", ["ip", "text"]),
        ("tomorrow|port", ["text", "text"]),
        ("email-tomorrow", ["text"]),
    ):
        known = class_of(name)
        assert [form.kind for form in known.forms] == kinds
        assert known.gated
        assert known.front_ends == (() if name == "a-type-of-tomorrow" else ("match",))


def observed(known: IndicatorClass) -> str:
    texts = [f"{place.value} ({', '.join(front_ends(place))})" for place in known.observed_at]
    return "; ".join(texts) or "nowhere"


def table() -> str:
    """The table of docs/format.md, section 2.8."""

    def row(known: IndicatorClass) -> tuple[str, str, str]:
        return known.kind, ", ".join(form.title for form in known.forms), observed(known)

    lines = ["| classes | kind | parts | observed |", "|---|---|---|---|"]
    for (kind, titles, where), classes in groupby(CLASSES.values(), row):
        names = ", ".join(f"`{known.name}`" for known in classes).replace("|", "\\|")
        lines.append(f"| {names} | `{kind}` | {titles} | {where} |")
    return "\n".join(lines)


def test_format_md_has_the_table() -> None:
    page = (ROOT / "docs/format.md").read_text()
    section = re.search(r"^### 2\.8 .*?(?=^## )", page, re.MULTILINE | re.DOTALL)
    assert section
    assert table() in section[0], f"docs/format.md, section 2.8, should have\n{table()}"


@pytest.mark.slow
def test_place_without_front_end_fails_mypy(tmp_path: Path) -> None:
    copy = copy_sources(tmp_path)
    assert copy.mypy(TABLE) == []
    copy.replace(TABLE_FILE, NEW_PLACE, f'{NEW_PLACE}    REFERER = "Referer header"\n')
    (error,) = copy.mypy(TABLE)
    assert TABLE_FILE in error
    assert '"assert_never" has incompatible type "Literal[ObservedAt.REFERER]"' in error


@pytest.mark.slow
def test_class_at_a_place_that_is_not_handled_fails_a_test(tmp_path: Path) -> None:
    copy = copy_sources(tmp_path)
    copy.replace(TABLE_FILE, NEW_PLACE, f'{NEW_PLACE}    REFERER = "Referer header"\n')
    copy.replace(
        TABLE_FILE, "| ObservedAt.USER_AGENT\n", "| ObservedAt.USER_AGENT | ObservedAt.REFERER\n"
    )
    line = '    _one("http-referer", TEXT, ObservedAt.REFERER),\n'
    copy.replace(TABLE_FILE, LAST_LINE, line.join(LAST_LINE.rsplit(")\n", 1)) + ")\n")
    assert copy.mypy(TABLE) == []
    output = copy.pytest("tests/rules/test_classes.py", "-k", "found_where and helper")
    assert "nothing here shows a value at ObservedAt.REFERER" in output


@pytest.mark.slow
def test_class_that_its_place_cannot_show_fails_a_test(tmp_path: Path) -> None:
    copy = copy_sources(tmp_path)
    line = '    _one("sha256-of-url", SHA256, ObservedAt.URL),\n'
    copy.replace(TABLE_FILE, LAST_LINE, line.join(LAST_LINE.rsplit(")\n", 1)) + ")\n")
    output = copy.pytest("tests/rules/test_classes.py", "-k", "found_where and sha256-of-url")
    assert "3 failed" in output
