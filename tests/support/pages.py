"""The project's files as texts: its pages with their prose and headings, its folders."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[2]
PROJECT: Final[dict[str, Any]] = tomllib.loads((ROOT / "pyproject.toml").read_text())
FOLDERS: Final = tuple(
    name
    for name in PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["sources"]
    if "/" not in name
)
"""The folders at the top that are packages of inkgate."""
_FENCE: Final = re.compile(r"^(```|~~~).*?^\1[^\n]*$", re.MULTILINE | re.DOTALL)
_INLINE_CODE: Final = re.compile(r"(`+)(?!`).+?(?<!`)\1(?!`)")
_HEADING: Final = re.compile(r"^#{1,6} +(.+?) *#*$", re.MULTILINE)
_NOT_IN_ANCHORS: Final = re.compile(r"[^\w\- ]")
_LINK_TEXT: Final = re.compile(r"\[([^\]]*)\]\([^)]*\)")


def pages() -> list[Path]:
    """All Markdown files of the project, without what tools keep in hidden folders."""
    found = [
        *ROOT.glob("*.md"),
        *(path for folder in ("docs", "tests", "bench") for path in (ROOT / folder).rglob("*.md")),
    ]
    return sorted(found)


def name_of(path: Path) -> str:
    """A page's path from the project's folder, for a test's id."""
    return str(path.relative_to(ROOT))


def without_code_blocks(text: str) -> str:
    """A page without its fenced blocks."""
    return _FENCE.sub("", text)


def prose(text: str) -> str:
    """A page without anything that is code, fenced or in a line."""
    return _INLINE_CODE.sub("", without_code_blocks(text))


def anchors(text: str) -> set[str]:
    """The anchors that GitHub gives a page's headings."""
    seen: Counter[str] = Counter()
    found = set()
    for heading in _HEADING.findall(without_code_blocks(text)):
        plain = _LINK_TEXT.sub(r"\1", heading).replace("`", "").lower()
        anchor = _NOT_IN_ANCHORS.sub("", plain).replace(" ", "-")
        found.add(f"{anchor}-{seen[anchor]}" if seen[anchor] else anchor)
        seen[anchor] += 1
    return found
