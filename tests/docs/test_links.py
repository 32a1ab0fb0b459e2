"""What pages point to is there: files, headings, modules, decisions."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

import pytest

from support.pages import FOLDERS, ROOT, anchors, name_of, pages, prose, without_code_blocks

LINK = re.compile(r"\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")
NAMED_FILE = re.compile(
    rf"(?<![\w./-])(?:{'|'.join((*FOLDERS, 'tests', 'tools', 'bench', 'locks'))})/[\w/.-]*"
    r"\.(?:py|toml|sh|txt|in|html)\b"
)
DECISION = re.compile(r"docs/decisions/(\d{4})")
OLD_IMPORT = re.compile(rf"python3? -m (?:{'|'.join(FOLDERS)})\b")
SOURCES = [
    path
    for folder in (*FOLDERS, "src", "tests", "tools", "bench")
    for path in sorted((ROOT / folder).rglob("*.py"))
    if not path.is_symlink()
]


def broken_links(page: Path) -> list[str]:
    """Relative links of a page that lead nowhere."""
    found = []
    for link in LINK.findall(prose(page.read_text())):
        if re.match(r"[a-z][a-z0-9+.-]*:", link):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / unquote(path) if path else page
        if not target.exists():
            found.append(f"{link}: no such file")
        elif anchor and (target.suffix != ".md" or anchor not in anchors(target.read_text())):
            found.append(f"{link}: no such heading")
    return found


def test_there_are_pages_and_links_are_seen() -> None:
    assert ROOT / "README.md" in pages()
    assert LINK.findall(prose((ROOT / "README.md").read_text()))


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    assert broken_links(page) == []


def test_fault_link_to_a_missing_heading_is_seen(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# One `name`\n\n[a](#one-name) [b](#two) [c](gone.md) `[d](gone.md)`\n")
    assert broken_links(page) == ["#two: no such heading", "gone.md: no such file"]


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_files_that_a_page_names_exist(page: Path) -> None:
    text = page.read_text()
    if page.name == "CHANGELOG.md":
        # It tells of files that are gone.
        return
    named = [name for name in NAMED_FILE.findall(text) if "NAME" not in name]
    assert [name for name in named if not (ROOT / name).exists()] == []
    assert OLD_IMPORT.findall(text) == []


def test_decisions_that_sources_name_exist() -> None:
    there = {path.name[:4] for path in (ROOT / "docs" / "decisions").glob("[0-9]*.md")}
    named = {n for path in SOURCES for n in DECISION.findall(path.read_text())}
    assert named
    assert named <= there


def test_every_page_of_docs_is_in_the_index() -> None:
    index = without_code_blocks((ROOT / "docs" / "README.md").read_text())
    linked = {link.partition("#")[0] for link in LINK.findall(index)}
    there = {path.name for path in (ROOT / "docs").glob("*.md")} - {"README.md"}
    assert there <= linked
