"""Pieces of inkgate.toml in the documentation are such that inkgate takes."""

from __future__ import annotations

import re
import textwrap
import tomllib
from pathlib import Path

import msgspec
import pytest

from inkgate.admin.status.sections import SECTIONS
from support.pages import ROOT, name_of, pages

BLOCK = re.compile(r"^( *)```toml\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
PAGES = [page for page in pages() if BLOCK.search(page.read_text())]


def tables(page: Path) -> list[dict[str, object]]:
    """The blocks of a page that begin with a section, read."""
    texts = [textwrap.dedent(f"{indent}{text}") for indent, text in BLOCK.findall(page.read_text())]
    return [tomllib.loads(text) for text in texts if text.lstrip().startswith("[")]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_sections_are_taken(page: Path) -> None:
    for table in tables(page):
        for name in table.keys() & SECTIONS.keys():
            msgspec.convert(table[name], SECTIONS[name])


def test_proxy_with_a_publisher_elsewhere_has_its_settings() -> None:
    first, *_ = tables(ROOT / "docs" / "publisher-and-proxies.md")
    assert first.keys() >= {"rules", "helper", "squid_conf"}
    assert not msgspec.convert(first["rules"], SECTIONS["rules"]).sources


def test_upgrade_names_more_than_the_base() -> None:
    text = (ROOT / "docs" / "upgrade.md").read_text()
    (roles,) = re.findall(r"for role in ([a-z ]+);", text)
    assert len(roles.split()) > 1
    for role in (*roles.split(), "base"):
        assert (ROOT / "locks" / f"{role}.txt").is_file()
