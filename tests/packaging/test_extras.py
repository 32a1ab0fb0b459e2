"""pyproject.toml, the table of extras, the lock files and the imports say the same."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.metadata import distribution, packages_distributions
from typing import get_args

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from inkgate.config.extras import MODULES, Extra, MissingExtraError, need, require
from support.venvs import LOCKS, ROOT, locked

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
ROLES = [name for name in EXTRAS if name not in ("all", "dev")]
PACKAGES = [path for path in (ROOT / "src" / "inkgate").iterdir() if path.is_dir()]


def names(requirements: Iterable[str]) -> set[str]:
    return {canonicalize_name(Requirement(text).name) for text in requirements}


@cache
def by_module() -> Mapping[str, list[str]]:
    return packages_distributions()


def distributions(module: str) -> set[str]:
    return {canonicalize_name(name) for name in by_module().get(module, ())}


def third_party() -> Iterator[tuple[str, str]]:
    """Every module from elsewhere that a package of ours imports, and where."""
    for package in PACKAGES:
        for path in package.resolve().rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                found = []
                if isinstance(node, ast.Import):
                    found = [alias.name for alias in node.names]
                elif isinstance(node, ast.ImportFrom) and not node.level:
                    found = [node.module or ""]
                for name in found:
                    top = name.partition(".")[0]
                    if top not in sys.stdlib_module_names | {"inkgate"}:
                        yield top, f"{path.relative_to(ROOT)}:{node.lineno}"


def test_table_of_extras_is_that_of_pyproject() -> None:
    assert set(ROLES) == set(MODULES) == set(get_args(Extra))
    for extra, modules in MODULES.items():
        found = set().union(*(distributions(module) for module in modules))
        assert found == names(EXTRAS[extra]), extra
        assert len(modules) == len(EXTRAS[extra]), extra


def test_all_has_every_role_and_dev_has_all() -> None:
    (everything,) = map(Requirement, EXTRAS["all"])
    assert (everything.name, everything.extras) == ("inkgate", set(ROLES))
    assert "inkgate[all]" in EXTRAS["dev"]


def test_what_is_imported_is_declared_and_what_is_declared_is_imported() -> None:
    declared = names(PROJECT["dependencies"]).union(*(names(EXTRAS[role]) for role in ROLES))
    undeclared = [
        (module, place) for module, place in third_party() if not distributions(module) & declared
    ]
    assert undeclared == []
    imported = {module for module, _ in third_party()}
    # Imported by their names in texts: config/extras.py's `need`.
    imported |= {module for modules in MODULES.values() for module in modules}
    used = set().union(*(distributions(module) for module in imported))
    assert declared - used == set()


def closure(requirements: Iterable[str]) -> set[str]:
    """Names of all that these need on this system."""
    found: set[tuple[str, str]] = set()

    def add(text: str, extra: str) -> None:
        requirement = Requirement(text)
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            return
        for wanted in ("", *requirement.extras):
            key = canonicalize_name(requirement.name), wanted
            if key not in found:
                found.add(key)
                for more in distribution(requirement.name).requires or ():
                    add(more, wanted)

    for text in requirements:
        add(text, "")
    return {name for name, _ in found}


@pytest.mark.parametrize("role", ["base", *ROLES])
def test_lock_of_a_role_has_what_it_needs_and_no_more(role: str) -> None:
    wanted = [*PROJECT["dependencies"], *([] if role == "base" else EXTRAS[role])]
    assert set(locked(LOCKS / f"{role}.txt")) == closure(wanted)


def test_locks_agree_on_every_version_and_have_hashes() -> None:
    everything = locked(LOCKS / "dev.txt")
    paths = set(LOCKS.glob("*.txt"))
    assert {p.stem for p in paths} == {"base", "build", "all", "dev", *ROLES}
    for path in paths - {LOCKS / "build.txt"}:
        assert locked(path).items() <= everything.items(), path
    for path in paths:
        assert "://" not in path.read_text(), f"{path} names a host"
        for requirement in path.read_text().replace("\\\n", " ").splitlines():
            if requirement and not requirement.lstrip().startswith("#"):
                assert "--hash=sha256:" in requirement, requirement


def test_base_lock_is_small() -> None:
    forbidden = {"pymisp", "requests", "redis", "rich", "brotli", "zstandard", "sqlalchemy"}
    assert not forbidden & set(locked(LOCKS / "base.txt"))
    assert "sqlalchemy" not in locked(LOCKS / "dev.txt")


def test_missing_library_is_named_with_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zstandard", None)
    said = (
        "a log needs zstandard, which is not installed; install locks/match.txt as README.md "
        "says, or pip install 'inkgate[match]'"
    )
    with pytest.raises(MissingExtraError) as caught:
        need("match", "zstandard", "a log")
    assert str(caught.value) == said
    with pytest.raises(MissingExtraError) as caught:
        require("match", "a log")
    assert str(caught.value) == said


def test_library_that_is_there_is_not_imported_to_see_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in MODULES["report"]:
        monkeypatch.delitem(sys.modules, module, raising=False)
    require("report", "a test")
    assert not set(MODULES["report"]) & sys.modules.keys()


def test_makefile_locks_every_role() -> None:
    (line,) = re.findall("^ROLES = (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(line.split()) == {*ROLES, "all"}
