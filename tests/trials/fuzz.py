"""Fuzzing by atheris (coverage-guided) of everything that reads what strangers wrote.

    python tests/trials/fuzz.py [--target NAME] [--seconds N] [--jobs N]

Each target runs for two minutes and for at least an hour of processor time all together; what
has run through with this code is left out the next time. An input that breaks a promise is kept
in .inkgate/fuzz/NAME, and belongs into tests/fuzz/corpus/NAME once it is mended. Ends with 0 if
nothing was found.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE.parent))

_ALL_SECONDS = 3600
_EACH_SECONDS = 120
_MAX_BYTES = 4096
_SLOW_SECONDS = 10
_MEMORY_MIB = 2048


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--target", help="this one alone")
    parser.add_argument("--seconds", type=int, help="for each target")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--found", type=Path, default=ROOT / ".inkgate" / "fuzz")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        fuzz(options.target, options.seconds, options.found)
        return
    from support.fuzz_targets import TARGETS

    names = [options.target] if options.target else list(TARGETS)
    seconds = options.seconds or max(_EACH_SECONDS, -(-_ALL_SECONDS // len(names)))
    digest = _digest()
    with ThreadPoolExecutor(options.jobs) as pool:
        codes = list(pool.map(lambda name: run(name, seconds, options.found, digest), names))
    sys.exit(1 if any(codes) else 0)


def run(name: str, seconds: int, found: Path, digest: str) -> int:
    """Fuzz one target in a process of its own, unless that was done with this code."""
    folder = found / name
    folder.mkdir(parents=True, exist_ok=True)
    note = folder / "done"
    now = f"{digest} {seconds}"
    if note.exists() and note.read_text() == now:
        print(f"{name}: has run", flush=True)
        return 0
    command = [sys.executable, __file__, "--here", "--target", name, "--seconds", str(seconds)]
    done = subprocess.run([*command, "--found", found], capture_output=True, text=True, check=False)
    last = [
        line for line in done.stderr.splitlines() if line.startswith("#") and line[1:2].isdigit()
    ][-1:]
    print(f"{name}: {'FOUND' if done.returncode else 'nothing'}, {''.join(last)}", flush=True)
    if done.returncode:
        print(done.stderr[-3000:], flush=True)
    else:
        note.write_text(now)
    return int(done.returncode)


def fuzz(name: str, seconds: int, found: Path) -> None:
    """Fuzz in this process; libFuzzer ends it."""
    import atheris

    with atheris.instrument_imports(include=["inkgate.rules"], enable_loader_override=False):
        from support import fuzz_targets

    target = _planted if name == "planted" else fuzz_targets.TARGETS[name]
    corpus = fuzz_targets.CORPUS / name
    with tempfile.TemporaryDirectory(prefix="inkgate-fuzz-") as work:
        atheris.Setup(
            [
                sys.argv[0],
                f"-max_total_time={seconds}",
                f"-max_len={_MAX_BYTES}",
                f"-timeout={_SLOW_SECONDS}",
                f"-rss_limit_mb={_MEMORY_MIB}",
                f"-artifact_prefix={found / name}/",
                work,
                *([str(corpus)] if corpus.exists() else []),
            ],
            target,
        )
        atheris.Fuzz()


def _planted(data: bytes) -> None:
    """A fault that the fuzzer must find."""
    if b"\x1b" in data:
        raise AssertionError


def _digest() -> str:
    from run import digest

    return digest(ROOT / "src", None)


if __name__ == "__main__":
    main()
