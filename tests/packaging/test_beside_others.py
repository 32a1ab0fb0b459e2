"""Beside other projects' packages `rules` and `helper`, all three work, installed in any order."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from support.installation import Installation, attribute
from support.status import complaints
from support.venvs import LOCKS, Built, Venv

pytestmark = pytest.mark.slow

OTHERS = ("rules==3.5", "helper==2.5.0")
PIP = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
THEIRS_WORK = """\
import rules, helper
assert rules.predicate(lambda user: user == "a")("a")
assert rules.__file__.startswith({prefix!r}), rules.__file__
assert helper.__file__.startswith({prefix!r}), helper.__file__
assert helper.version == "2.5.0"
import inkgate.rules.lookup.matcher, inkgate.helper.loop
"""


@pytest.fixture(scope="session")
def others(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The other projects' wheels, from the package registry."""
    folder = tmp_path_factory.mktemp("others")
    done = subprocess.run(
        [*PIP, "download", "--no-deps", "--no-build-isolation", "--dest", folder, *OTHERS],
        capture_output=True,
        text=True,
        check=False,
    )
    if "No matching distribution found" in done.stderr:
        pytest.skip(f"pip cannot reach a registry with {' and '.join(OTHERS)}")
    assert done.returncode == 0, done.stderr
    wheels = folder / "wheels"
    build = [*PIP, "wheel", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir"]
    subprocess.run([*build, wheels, *folder.iterdir()], check=True)
    return sorted(wheels.glob("*.whl"))


@pytest.mark.parametrize("order", ["theirs first", "ours first"])
def test_all_three_work(
    built: Built, others: list[Path], installation: Installation, tmp_path: Path, order: str
) -> None:
    made = Venv(tmp_path / "venv", LOCKS / "base.txt")
    for wheel in (*others, built.wheel) if order == "theirs first" else (built.wheel, *others):
        made.install(wheel)
    installation.add("listed", attribute("domain", "listed.example"))
    installation.refresh()
    # A folder that has modules of these names, too, and no good ones.
    there = tmp_path / "somewhere"
    for name in ("rules", "helper", "config"):
        (there / name).mkdir(parents=True)
        (there / name / "__init__.py").write_text("raise SystemExit('the wrong one')\n")

    work = THEIRS_WORK.format(prefix=str(made.site_packages))
    done = made.run("python", "-c", work, folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    asked = "1 GET http://listed.example/ 192.0.2.1 - - -\n"
    config = "--config", installation.config
    for command in (["inkgate-helper"], ["python", "-m", "inkgate.helper"]):
        done = made.run(*command, *config, text=asked, folder=there)
        assert (done.returncode, complaints(done.stderr)) == (0, [])
        assert done.stdout.startswith("1 OK ")
    done = made.run("inkgate-rules", *config, "match", "domain=listed.example", folder=there)
    assert done.returncode == 0, done.stderr
    assert made.run("inkgate-squid-conf", *config, "fragment", folder=there).returncode == 0
