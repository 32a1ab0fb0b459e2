"""Each claim of docs/aggregation.md names tests, and those tests exist."""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).parent
PAGE = (HERE.parent.parent / "docs" / "aggregation.md").read_text()
DEFINED = set(
    re.findall(
        r"^\s*(?:def test_|class )(\w+)",
        "\n".join(path.read_text() for path in HERE.glob("test_*.py")),
        re.MULTILINE,
    )
)


def named_by_claims() -> dict[str, list[str]]:
    """Test names by the number of their claim; `…` stands for any characters."""
    claims = PAGE[PAGE.index("## What is claimed") : PAGE.index("### Noise")]
    rows = re.findall(r"^\| (\d+) \|.*\| ([^|]+) \|$", claims, re.MULTILINE)
    return {number: re.findall(r"`([^`]+)`", cell) for number, cell in rows}


def test_claims_are_numbered_and_each_names_a_test() -> None:
    claims = named_by_claims()
    assert list(claims) == [str(n) for n in range(1, 19)]
    assert all(claims.values())


def test_named_tests_exist() -> None:
    for number, names in named_by_claims().items():
        for name in names:
            pattern = ".*".join(map(re.escape, name.split("…")))
            assert any(re.fullmatch(pattern, defined) for defined in DEFINED), (number, name)
    for name in ("budget_is_kept_and_ends", "quotas_hold_totals_back"):
        assert f"`{name}`" in PAGE
        assert name in DEFINED
