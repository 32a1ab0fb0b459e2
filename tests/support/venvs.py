"""Virtual environments that hold exactly what a lock file names, made without a network.

The distributions are copied from the environment that runs the tests, whose lock file
agrees with all others on every version.
"""

from __future__ import annotations

import importlib.metadata
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
LOCKS = ROOT / "locks"


def locked(lock: Path) -> dict[str, str]:
    """Versions by name that a lock file asks for on this system."""
    found = {}
    for line in lock.read_text().splitlines():
        if line and not line.startswith((" ", "#", "-")):
            requirement = Requirement(line.removesuffix("\\").strip())
            if requirement.marker is None or requirement.marker.evaluate():
                (pin,) = requirement.specifier
                assert pin.operator == "=="
                found[canonicalize_name(requirement.name)] = pin.version
    return found


class Built(NamedTuple):
    """What is built of this tree.

    Attributes:
        source: the source distribution.
        wheel: the wheel.
        again: the wheel that is made from the source distribution.
    """

    source: Path
    wheel: Path
    again: Path


class Venv:
    """An environment of its own.

    Args:
        folder: where it is made.
        lock: what it holds; None for nothing.
    """

    def __init__(self, folder: Path, lock: Path | None = None) -> None:
        self.folder = folder
        self.bin = folder / "bin"
        venv.create(folder, with_pip=False, symlinks=True)
        (self.site_packages,) = folder.glob("lib/python3*/site-packages")
        for name, version in (locked(lock) if lock else {}).items():
            self._copy(name, version)

    def install(self, wheel: Path) -> None:
        """Install a wheel without what it depends on."""
        subprocess.run(
            [
                sys.executable, "-m", "pip", "--python", self.bin / "python", "install",
                "--quiet", "--no-index", "--no-deps", "--disable-pip-version-check", wheel,
            ],
            check=True,
        )  # fmt: skip

    def run(
        self, program: str, *arguments: str | Path, text: str = "", folder: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run one of its programs, with some text as its input."""
        return subprocess.run(
            [self.bin / program, *arguments],
            input=text,
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def _copy(self, name: str, version: str) -> None:
        distribution = importlib.metadata.distribution(name)
        assert distribution.version == version, f"{name}: run tools/bootstrap.sh dev"
        for path in _own_files(distribution):
            target = self.site_packages / path
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(str(distribution.locate_file(path)), target)


def _own_files(distribution: importlib.metadata.Distribution) -> Iterator[str]:
    """A distribution's files in site-packages, without compiled code and scripts."""
    for path in distribution.files or ():
        if ".." not in path.parts and path.suffix != ".pyc":
            yield str(path)
