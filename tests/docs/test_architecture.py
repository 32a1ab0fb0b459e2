"""docs/architecture.md says what the code is: its layers, its rooms; a word has one row."""

from __future__ import annotations

import re

from support.pages import FOLDERS, PROJECT, ROOT

PAGE = (ROOT / "docs" / "architecture.md").read_text()


def part(heading: str) -> str:
    """A section of the page, up to the next heading of its rank."""
    return PAGE.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]


def first_cells(text: str) -> list[str]:
    """The first column of a section's tables, without their heads."""
    rows = re.findall(r"^\| (.+?) \|", text.replace(r"\|", "¦"), re.MULTILINE)
    return [row.replace("¦", "|") for row in rows]


def packages() -> set[str]:
    """Every package of inkgate, by its name below `inkgate`."""
    return {
        ".".join(path.parent.relative_to(ROOT).parts)
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("__init__.py")
    }


def test_layers_of_the_page_are_those_of_the_contract() -> None:
    contracts = PROJECT["tool"]["importlinter"]["contracts"]
    (layers,) = [c["layers"] for c in contracts if c["type"] == "layers"]
    block = re.search(r"```text\n(.*?)```", part("Layers"), re.DOTALL)
    assert block
    assert block[1].splitlines() == layers


def test_every_package_stands_in_a_layer() -> None:
    """What stands in none may import anything, and lint-imports says nothing."""
    contracts = PROJECT["tool"]["importlinter"]["contracts"]
    (layers,) = [c["layers"] for c in contracts if c["type"] == "layers"]
    named = {name for layer in layers for name in re.findall(r"[a-z_.]+", layer)}
    outside = {
        name
        for name in packages()
        if name not in named
        and not any(name.startswith(f"{other}.") for other in named)
        and not any(other.startswith(f"{name}.") for other in named)
    }
    assert not outside


def test_every_room_has_a_row_and_every_row_a_room() -> None:
    named = [cell.strip("`") for cell in first_cells(part("Folders and rooms")) if "`" in cell]
    assert len(named) == len(set(named))
    assert set(named) == packages()


def test_front_ends_contract_is_the_one_that_the_page_tells() -> None:
    contracts = PROJECT["tool"]["importlinter"]["contracts"]
    forbidden = [c["forbidden_modules"] for c in contracts if c["type"] == "forbidden"]
    told = set(re.findall(r"`([a-z_.]+)`", part("Layers").split("Two more contracts")[1]))
    for module in (name for names in forbidden for name in names):
        assert module.removeprefix("inkgate.") in told


def test_a_word_of_the_glossary_has_one_row_and_they_are_in_order() -> None:
    words = [w for w in first_cells(part("Glossary")) if w not in ("word", "---")]
    assert len(words) > 50
    assert words == sorted(set(words), key=str.casefold)
