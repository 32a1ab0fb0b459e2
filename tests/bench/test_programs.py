"""Every benchmark tells what it measures, and has the arguments that all of them have."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).resolve().parents[2] / "bench"
PROGRAMS = sorted(BENCH.glob("*.py"))

# All in one process: what they import takes longer than what they print.
HELP = """
import contextlib, io, json, runpy, sys
found = {}
for program in sys.argv[1:]:
    out = io.StringIO()
    sys.argv[:] = [program, "--help"]
    status = None
    with contextlib.redirect_stdout(out):
        try:
            runpy.run_path(program, run_name="__main__")
        except SystemExit as end:
            status = end.code
        except BaseException as error:
            status = repr(error)
    found[program] = [status, out.getvalue()]
print(json.dumps(found))
"""
QUICK = """
from harness.arguments import Arguments
parser = Arguments("Measures nothing.", rules=10, **{more})
parser.add_argument("--rules", type=int, default=1000)
parser.add_argument("--runs", type=int, default=5)
options = parser.read({words})
print(options.rules, options.runs)
"""


def run(code: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=BENCH,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture(scope="module")
def answers() -> dict[str, tuple[object, str]]:
    done = run(HELP, *PROGRAMS)
    assert done.returncode == 0, done.stderr
    return {Path(name).name: tuple(found) for name, found in json.loads(done.stdout).items()}


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.name)
def test_help_says_what_is_measured(answers: dict[str, tuple[object, str]], program: Path) -> None:
    status, text = answers[program.name]
    assert status in (0, None)
    doc = ast.get_docstring(ast.parse(program.read_text()))
    assert doc
    assert doc.splitlines()[0] in text
    assert "--quick" in text


@pytest.mark.parametrize(
    ("words", "read"),
    [
        ([], "1000 5"),
        (["--quick"], "10 5"),
        (["--quick", "--rules", "7"], "7 5"),
        (["--rules", "7", "--runs", "2", "--quick"], "7 2"),
    ],
)
def test_quick_is_small_where_nothing_else_is_given(words: list[str], read: str) -> None:
    done = run(QUICK.format(words=words, more={}))
    assert done.stdout.strip() == read, done.stderr


def test_quick_names_arguments_that_there_are() -> None:
    done = run(QUICK.format(words=[], more={"rnus": 1}))
    assert "no such arguments: rnus" in done.stderr
