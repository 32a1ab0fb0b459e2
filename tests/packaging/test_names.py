"""Nothing is imported by a bare name that other projects use: `rules`, `helper`, …"""

from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.venvs import ROOT

PACKAGES = {path.name for path in (ROOT / "src" / "inkgate").iterdir() if path.is_dir()}


def sources() -> Iterator[Path]:
    """All Python files of the tree, each once."""
    for folder in ROOT.iterdir():
        if folder.is_dir() and not folder.name.startswith(".") and folder.name != "src":
            yield from folder.rglob("*.py")


def imported(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Modules that are imported, or run with `-m`, with the line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.lineno, node.module
        elif isinstance(node, ast.Call) and _name(node.func) in {"import_module", "__import__"}:
            yield from _text(node.args[0])
        elif isinstance(node, ast.List | ast.Tuple):
            for flag, module in zip(node.elts, node.elts[1:], strict=False):
                if isinstance(flag, ast.Constant) and flag.value == "-m":
                    yield from _text(module)


def _name(function: ast.expr) -> str:
    return getattr(function, "attr", getattr(function, "id", ""))


def _text(node: ast.expr) -> Iterator[tuple[int, str]]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.lineno, node.value


def bare(path: Path) -> list[str]:
    found = imported(ast.parse(path.read_text()))
    return [f"{path}:{line}: {name}" for line, name in found if name.split(".")[0] in PACKAGES]


def test_nothing_is_imported_by_a_bare_name() -> None:
    paths = list(sources())
    assert len(paths) > 400
    assert [fault for path in paths for fault in bare(path)] == []


@pytest.mark.parametrize(
    "line",
    [
        "import rules", "import rules.lookup as l", "from helper import loop",
        "def f():\n  from config.errors import X", 'import_module("sightings.journal")',
        'run([sys.executable, "-m", "helper"])', 'run((p, "-m", "icap_server.worker", o))',
    ],
)  # fmt: skip
def test_what_would_be_a_bare_name_is_found(tmp_path: Path, line: str) -> None:
    (tmp_path / "a.py").write_text(line)
    assert len(bare(tmp_path / "a.py")) == 1


def test_bare_names_do_not_lead_to_our_folders() -> None:
    for name in PACKAGES:
        found = importlib.util.find_spec(name)
        places = (found.submodule_search_locations or [found.origin]) if found else []
        assert str(ROOT / name) not in places
    ours = {name: sys.modules[name] for name in PACKAGES & sys.modules.keys()}
    assert not [m for m in ours.values() if str(getattr(m, "__file__", "")).startswith(str(ROOT))]


def test_nor_when_python_has_put_the_root_of_the_tree_into_its_path() -> None:
    test = test_bare_names_do_not_lead_to_our_folders.__name__
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"{__file__}::{test}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "1 passed" in done.stdout, done.stdout + done.stderr
