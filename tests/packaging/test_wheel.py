"""The wheel holds the one package `inkgate`, whole, however it is built."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.venvs import ROOT, Built, Venv

PACKAGE = ROOT / "src" / "inkgate"
NOT_SOURCE = {".pyc"}
TYPED_PROGRAM = """\
from inkgate.rules.canonical import canonical_attribute
reveal_type(canonical_attribute("domain", "a.example"))
"""


def files(folder: Path) -> Iterator[Path]:
    """All source files of a folder, which may be a link, relative to it."""
    for path in folder.resolve().rglob("*"):
        if path.is_file() and path.suffix not in NOT_SOURCE:
            yield path.relative_to(folder.resolve())


def content(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        return sorted(archive.namelist())


def test_wheel_is_the_package_and_nothing_else(built: Built) -> None:
    expected = {f"inkgate/{path.name}" for path in PACKAGE.iterdir() if path.is_file()}
    for room in filter(Path.is_dir, PACKAGE.iterdir()):
        expected |= {f"inkgate/{room.name}/{path}" for path in files(room)}
    names = content(built.wheel)
    information = [name for name in names if ".dist-info/" in name]
    assert set(names) - set(information) == expected
    assert {name.split("/")[0] for name in names if name not in information} == {"inkgate"}
    assert {"inkgate/py.typed", "inkgate/blocked_page/templates/blocked.html"} < expected
    assert len({name.split("/")[0] for name in information}) == 1


def test_wheel_from_the_source_distribution_is_the_same(built: Built) -> None:
    assert content(built.again) == content(built.wheel)
    with zipfile.ZipFile(built.again) as again, zipfile.ZipFile(built.wheel) as wheel:
        differing = [n for n in wheel.namelist() if again.read(n) != wheel.read(n)]
    assert differing == []


@pytest.mark.parametrize("folder", ["bench", "docs", "locks", "tests", "tools"])
def test_source_distribution_has_what_tests_and_builders_need(built: Built, folder: str) -> None:
    with tarfile.open(built.source) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    ignored = {"bench/results"}
    expected = {f"{folder}/{path}" for path in files(ROOT / folder)}
    expected = {name for name in expected if not name.startswith(tuple(ignored))}
    assert expected - names == set()
    assert {path.name for path in ROOT.iterdir() if path.is_file() and path.name[0] != "."} < names


@pytest.mark.slow
def test_strict_mypy_finds_the_types_of_an_installed_inkgate(base: Venv, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(TYPED_PROGRAM)
    done = subprocess.run(
        [
            sys.executable, "-m", "mypy", "--strict", "--config-file=", "--no-incremental",
            "--python-executable", base.bin / "python", program,
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert "inkgate.rules.canonical." in done.stdout
    assert "Any" not in done.stdout
