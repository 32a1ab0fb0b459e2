"""What is built of this tree, and an environment with what a proxy installs."""

from __future__ import annotations

import subprocess
import sys

import pytest

from support.venvs import LOCKS, ROOT, Built, Venv


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder = tmp_path_factory.mktemp("built")
    (again := folder / "again").mkdir()
    build = [sys.executable, "-m", "hatchling", "build", "-d", folder]
    for kind in ("sdist", "wheel"):
        subprocess.run([*build, "-t", kind], cwd=ROOT, check=True, capture_output=True)
    (source,) = folder.glob("*.tar.gz")
    (wheel,) = folder.glob("*.whl")
    subprocess.run(
        [
            sys.executable, "-m", "pip", "wheel", "--quiet", "--no-build-isolation", "--no-deps",
            "--no-index", "--disable-pip-version-check", "--wheel-dir", again, source,
        ],
        check=True,
    )  # fmt: skip
    (second,) = again.glob("*.whl")
    return Built(source, wheel, second)


@pytest.fixture(scope="session")
def base(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Venv:
    """An environment with the base lock and inkgate: what a proxy has."""
    made = Venv(tmp_path_factory.mktemp("base") / "venv", LOCKS / "base.txt")
    made.install(built.wheel)
    return made
