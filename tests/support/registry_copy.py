"""A copy of the source tree, to see what a check says of a change that nobody should make.

A registry promises that an entry without its handler is found by mypy or by a test. The
test of that promise makes such a change in a copy and runs the check there:

    def test_source_without_a_reader_fails_mypy(tmp_path):
        copy = copy_sources(tmp_path)
        assert copy.mypy("inkgate.rules.sources.registry") == []
        copy.replace("rules/sources/registry.py", "old text", "new text")
        assert any("assert_never" in line for line in copy.mypy("inkgate.rules.sources.registry"))

The first check, before the change, shows that nothing else is wrong with the copy.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# Kept from run to run, so that mypy reads again only what was changed.
MYPY_CACHE = ROOT / ".mypy_cache" / "copies"


class SourceCopy:
    """The files of a source tree in a folder of their own, which may be changed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def replace(self, file: str, old: str, new: str) -> None:
        """Replace a text that occurs exactly once in a file.

        Raises:
            AssertionError: it does not occur, or more than once.
        """
        path = self.folder / file
        text = path.read_text("utf-8")
        assert text.count(old) == 1, f"{file}: {text.count(old)} times {old!r}"
        path.write_text(text.replace(old, new), "utf-8")

    def mypy(self, *modules: str) -> list[str]:
        """mypy's errors in modules and in what they import; empty if there are none."""
        named = [argument for module in modules for argument in ("-m", module)]
        MYPY_CACHE.mkdir(parents=True, exist_ok=True)
        with (MYPY_CACHE / "lock").open("w") as lock:
            # Tests run in several processes, and mypy's cache is for one at a time.
            fcntl.flock(lock, fcntl.LOCK_EX)
            done = self._run("mypy", "--no-error-summary", "--cache-dir", str(MYPY_CACHE), *named)
        assert done.returncode in (0, 1), done.stdout + done.stderr
        return done.stdout.splitlines()

    def pytest(self, *tests: str) -> str:
        """What pytest says of tests that fail here; empty if they pass.

        Raises:
            AssertionError: there is no such test, or pytest could not run.
        """
        done = self._run("pytest", "-q", "-p", "no:cacheprovider", *tests)
        assert done.returncode in (0, 1), done.stdout + done.stderr
        return done.stdout if done.returncode else ""

    def _run(self, tool: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        # The installed package must not stand in for the copy.
        source = str(self.folder / "src")
        return subprocess.run(
            [sys.executable, "-m", tool, *arguments],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": source},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )


def copy_sources(folder: Path) -> SourceCopy:
    """Copy what is in the source tree, without what was built or downloaded into it.

    Args:
        folder: an existing folder, for instance pytest's `tmp_path`.
    """
    copy = folder / "sources"
    copy.mkdir()
    for entry in ROOT.iterdir():
        if entry.name.startswith(".") or entry.name in ("build", "dist"):
            continue
        if entry.is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "results")
            shutil.copytree(entry, copy / entry.name, symlinks=True, ignore=ignored)
        else:
            shutil.copy2(entry, copy / entry.name)
    return SourceCopy(copy)
