"""docs/what-happens-when.md names every condition, as the code has it, and a test of each."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from inkgate.health.conditions import CONDITIONS, Condition

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "what-happens-when.md"
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE.read_text().splitlines()
    if line.startswith("|") and not line.startswith(("|-", "| fault"))
]


def test_page_has_rows() -> None:
    assert len(ROWS) >= 15
    assert {len(row) for row in ROWS} == {5}


@pytest.mark.parametrize("condition", CONDITIONS, ids=lambda c: c.name)
def test_condition_has_a_row_with_its_level(condition: Condition) -> None:
    level = condition.severity + ", lasts" * condition.lasts
    assert {row[3] for row in ROWS if row[2] == f"`{condition.name}`"} == {level}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[2])
def test_row_names_a_test_that_is_there(row: list[str]) -> None:
    sources = [path.read_text() for path in (ROOT / "tests").rglob("test_*.py")]
    names = row[4].split(", ")
    assert names
    for name in names:
        assert re.fullmatch(r"test_\w+", name)
        assert any(f"\ndef {name}(" in source for source in sources), name
    condition = row[2].strip("`")
    if condition in {known.name for known in CONDITIONS}:
        assert any(
            f"def {name}(" in source and condition in source for name in names for source in sources
        )
