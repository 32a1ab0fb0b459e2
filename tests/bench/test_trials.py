"""The trials' runner: what has passed is not run again, until the code is another one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

RUN = Path(__file__).resolve().parents[1] / "trials" / "run.py"


def run(tmp_path: Path, *more: str) -> tuple[int, list[str]]:
    done = subprocess.run(
        [sys.executable, RUN, "--folder", tmp_path, "--passed", tmp_path / "passed", *more],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, [line.split(",")[0] for line in done.stdout.splitlines()]


def test_run_goes_on_with_what_has_not_passed(tmp_path: Path) -> None:
    for name, status in (("good", 0), ("lacking", 77), ("bad", 3)):
        (tmp_path / f"{name}.py").write_text(f"raise SystemExit({status})\n")
    bad, lacking = "bad: FAILED (3)", "lacking: left out"
    assert run(tmp_path) == (1, [bad, "good: passed", lacking])
    assert run(tmp_path) == (1, [bad, "good: has passed", lacking])
    (tmp_path / "bad.py").write_text("raise SystemExit(0)\n")
    assert run(tmp_path) == (0, ["bad: passed", "good: has passed", lacking])
    assert run(tmp_path, "--again") == (0, ["bad: passed", "good: passed", lacking])
    assert run(tmp_path, "--events", str(tmp_path))[1][1] == "good: passed"
