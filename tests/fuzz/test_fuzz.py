"""Short runs of what `make trials` fuzzes for an hour: corpora, and mutations of them."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from support.fuzz_targets import CORPUS, TARGETS

FUZZER = Path(__file__).resolve().parents[1] / "trials" / "fuzz.py"
PIECES = [
    b"\0", b"\x1b[2J", b"\xff", b"\xed\xa0\x80", b"\n", b"\t", b"[", b"{", b'"', b"%25", b"::",
    b"0.0.0.0 ", b"||", b"@@", b"/", b"\\", b"xn--", b"1e999", b"null", b",,", b"\r",
]  # fmt: skip


def corpus(name: str) -> list[bytes]:
    return [path.read_bytes() for path in sorted((CORPUS / name).iterdir())]


@pytest.mark.parametrize("name", TARGETS)
def test_corpus_and_mutations_of_it(name: str) -> None:
    random_ = random.Random(name)
    seeds = corpus(name)
    assert seeds
    for _ in range(120):
        data = random_.choice(seeds)
        TARGETS[name](data)
        for _ in range(random_.randrange(1, 5)):
            place = random_.randrange(len(data) + 1)
            end = min(len(data), place + random_.randrange(20))
            data = data[:place] + random_.choice(PIECES) + data[random_.choice((place, end)) :]
        TARGETS[name](data)


@pytest.mark.slow
def test_fuzzer_runs_a_target(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, FUZZER, "--target", "list-plain", "--seconds", "3", "--found", tmp_path],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "list-plain: " in done.stdout


@pytest.mark.slow
def test_fuzzer_finds_a_planted_fault(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, FUZZER, "--target", "planted", "--seconds", "60", "--found", tmp_path],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 1, done.stdout + done.stderr
    assert list((tmp_path / "planted").glob("crash-*"))
