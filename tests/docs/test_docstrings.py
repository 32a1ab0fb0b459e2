"""Each package says in its docstring what comes in, what goes out and what must hold."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from support.pages import FOLDERS, ROOT, name_of

PACKAGES = [
    ROOT / "src" / "inkgate" / "__init__.py",
    *(path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("__init__.py"))),
]


@pytest.mark.parametrize("package", PACKAGES, ids=name_of)
def test_docstring_tells_the_theory_of_the_package(package: Path) -> None:
    text = ast.get_docstring(ast.parse(package.read_text()))
    assert text
    lines = text.splitlines()
    assert lines[0].endswith((".", ":"))
    assert len(lines[0]) > 20
    assert 4 <= len(lines) <= 15
