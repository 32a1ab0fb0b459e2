"""docs/what-happens-when.md names every condition, as the code has it, and a test of each."""

from __future__ import annotations

import ast
import functools
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
def test_row_names_tests_that_are_there_and_of_its_condition(row: list[str]) -> None:
    names = row[4].split(", ")
    assert names
    for name in names:
        assert name in _tests(), name
    condition = row[2].strip("`")
    if condition in {known.name for known in CONDITIONS}:
        assert any(
            f'"{condition}"' in _tests()[name] or f": {condition}: " in _tests()[name]
            for name in names
        )


@functools.cache
def _tests() -> dict[str, str]:
    """All test functions of all files: name and source."""
    found = {}
    for path in (ROOT / "tests").rglob("test_*.py"):
        source = path.read_text()
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                found[node.name] = ast.get_source_segment(source, node) or ""
    return found
