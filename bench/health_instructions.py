"""What counting costs the warm path, in instructions, which no other load on the machine changes.

Two helpers run under valgrind's callgrind and answer the same warm lines: this one, and one
that --against names, for instance of the version before counters. Each is run with the lines
and without them; the difference, over the number of lines, is what a line costs. Of some runs
the least counts: a thread that wakes by the clock can only add. `health_cost` measures the
same in seconds, which a busy machine spoils. Prints a table and writes
bench/results/health_instructions.json.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path

from harness import rule_sets
from harness.arguments import Arguments
from harness.machine import describe, save, table
from harness.pipe import Helper, our_line

# Lines of a run, by size of the batch.
LINES = {1: 40_000, 16: 100_000, 256: 100_000}
_COLLECTED = re.compile(r"Collected : (\d+)")


def instructions(
    venv: Path, config: Path, batch: int, count: int, options: argparse.Namespace
) -> int:
    """What a whole life of a helper costs that answers `count` warm lines."""
    with tempfile.TemporaryDirectory(prefix="inkgate-callgrind-") as folder:
        log = Path(folder) / "log"
        helper = Helper(
            [
                *("valgrind", "--tool=callgrind", f"--log-file={log}"),
                f"--callgrind-out-file={folder}/out",
                *(venv / "bin" / "python", venv / "bin" / "inkgate-helper", "--config", config),
            ]
        )
        helper.exchange([our_line(n, b"host%d.example" % n) for n in range(options.hosts)], batch)
        lines = [our_line(n, b"host%d.example" % (n % options.hosts)) for n in range(count)]
        helper.exchange(lines, batch)
        helper.close()
        found = _COLLECTED.search(log.read_text())
    if not found:
        raise SystemExit(f"callgrind counted nothing for {venv}")
    return int(found[1])


def per_line(venv: Path, config: Path, batch: int, options: argparse.Namespace) -> float:
    """Instructions of one warm line."""
    count = max(1, round(LINES[batch] * options.length))
    least = [
        min(instructions(venv, config, batch, lines, options) for _ in range(options.runs))
        for lines in (0, count)
    ]
    return (least[1] - least[0]) / count


def main() -> None:
    parser = Arguments(__doc__, rules=2000, runs=1, hosts=100, length=0.01, batches=[16])
    parser.add_argument("--rules", type=int, default=20_000)
    parser.add_argument("--runs", type=int, default=3, help="of each, of which the least counts")
    parser.add_argument("--hosts", type=int, default=1000, help="that are known")
    parser.add_argument("--length", type=float, default=1, help="of a run, as a share of the usual")
    parser.add_argument("--batches", type=int, nargs="+", choices=LINES, default=list(LINES))
    parser.add_against()
    options = parser.read()
    if not shutil.which("valgrind"):
        raise SystemExit("valgrind is not installed; on Debian: apt-get install valgrind")
    # The same order of dictionaries and sets in every process.
    os.environ["PYTHONHASHSEED"] = "0"
    machine = describe()
    installation = rule_sets.make(options.rules)
    rows = []
    try:
        # Modules are compiled once, before anything is counted.
        for venv in (Path(sys.prefix), options.against):
            instructions(venv, installation.config, 1, 0, options)
        for batch in options.batches:
            this, against = (
                per_line(venv, installation.config, batch, options)
                for venv in (Path(sys.prefix), options.against)
            )
            rows.append((batch, this, against, this / against))
    finally:
        installation.close()
    table(("batch", "this", "against", "this : against"), rows)
    save("health_instructions", machine, options, instructions=rows)


if __name__ == "__main__":
    main()
