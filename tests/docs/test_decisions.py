"""The records in docs/decisions: each has its date and status, and the index has each."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from support.pages import ROOT, name_of

FOLDER = ROOT / "docs" / "decisions"
RECORDS = sorted(FOLDER.glob("[0-9]*.md"))
TITLE = re.compile(r"# ([1-9]\d*)\. (\S.*)")
STATUS = re.compile(r"Date: (\d{4}-\d\d-\d\d)\. Status: (accepted|superseded by \d+)\.")
ROW = re.compile(r"^\| \[(\d+)\]\(([\w.-]+)\) \| (.+?) \| (\S+) \| (.+?) \|$", re.MULTILINE)
GROUP = re.compile(r"^\| (\d+) to (\d+) \|", re.MULTILINE)

Row = tuple[str, str, str, str, str]


def row_of(record: Path) -> Row:
    """What the index has to say of a record."""
    lines = record.read_text().split("\n")
    title, status = TITLE.fullmatch(lines[0]), STATUS.fullmatch(lines[2])
    assert title, "the first line is `# NUMBER. TITLE`"
    assert status, "the third line is `Date: YYYY-MM-DD. Status: accepted.`"
    assert lines[1] == lines[3] == ""
    return title[1], record.name, title[2], status[1], status[2]


@pytest.mark.parametrize("record", RECORDS, ids=name_of)
def test_record_has_number_title_date_and_status(record: Path) -> None:
    number, name, _, _, status = row_of(record)
    assert name.startswith(f"{int(number):04d}-")
    if status.startswith("superseded"):
        assert list(FOLDER.glob(f"{int(status.split()[-1]):04d}-*.md"))


def test_index_and_records_agree() -> None:
    assert ROW.findall((FOLDER / "README.md").read_text()) == [row_of(r) for r in RECORDS]


def test_every_number_is_in_a_group_and_is_given_once() -> None:
    groups = [(int(a), int(b)) for a, b in GROUP.findall((FOLDER / "README.md").read_text())]
    numbers = [int(row_of(record)[0]) for record in RECORDS]
    assert len(numbers) == len(set(numbers))
    for number in numbers:
        assert any(first <= number <= last for first, last in groups), number
