"""What counting costs the warm path, and how long `inkgate status` takes with many rules.

Two installations answer the same warm lines through a pipe in turns, each pair in an order
drawn anew: this one, and one that --against names, for instance of the version before
counters. Without it, this one is measured against itself, which shows the machine's noise.
Both use the same rules. Prints tables and writes bench/results/health_cost.json.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import time

from harness import rule_sets
from harness.arguments import Arguments
from harness.machine import describe, median, save, table
from harness.pipe import Command, Helper, our_line
from support.installation import BIN, Installation

OURS, THEIRS = "this", "against"
# Lines of a run, by size of the batch: a run takes some tenths of a second.
LINES = {1: 20_000, 16: 200_000, 256: 400_000}


def start(command: Command, hosts: int) -> Helper:
    """Start a helper and show it all hosts, so that they are known to be clean."""
    helper = Helper(command)
    helper.exchange([our_line(n, b"host%d.example" % n) for n in range(hosts)], 256)
    return helper


def rates(commands: dict[str, Command], options: argparse.Namespace) -> dict[int, list[float]]:
    """Ratio of lines a second, this to the other, of every pair, by size of the batch.

    Each pair has helpers of its own: two equal processes differ by some hundredths for as
    long as they live.
    """
    found: dict[int, list[float]] = {batch: [] for batch in LINES}
    for _ in range(options.pairs):
        helpers = {name: start(command, options.hosts) for name, command in commands.items()}
        for batch, count in LINES.items():
            lines = [
                our_line(n, b"host%d.example" % (n * 7919 % options.hosts))
                for n in range(max(1, round(count * options.length)))
            ]
            runs: dict[str, list[float]] = {name: [] for name in helpers}
            for _ in range(options.runs):
                for name in random.sample(list(helpers), len(helpers)):
                    runs[name].append(len(lines) / helpers[name].exchange(lines, batch))
            found[batch].append(median(runs[OURS]) / median(runs[THEIRS]))
        for helper in helpers.values():
            helper.close()
    return found


def status_seconds(installation: Installation, times: int) -> list[float]:
    """How long `inkgate status` takes, while a helper is running."""
    helper = start([BIN / "inkgate-helper", "--config", installation.config], 100)
    found = []
    for _ in range(times):
        began = time.perf_counter()
        subprocess.run(
            [BIN / "inkgate", "--config", installation.config, "status"],
            stdout=subprocess.DEVNULL,
            check=False,
        )
        found.append(time.perf_counter() - began)
    helper.close()
    return found


def main() -> None:
    parser = Arguments(
        __doc__, rules=20_000, pairs=1, runs=1, hosts=300, length=0.02, status_times=1
    )
    parser.add_argument("--rules", type=int, default=1_000_000)
    parser.add_argument("--pairs", type=int, default=10, help="of helpers")
    parser.add_argument("--runs", type=int, default=5, help="of each helper and batch size")
    parser.add_argument("--hosts", type=int, default=20_000, help="that are known")
    parser.add_argument("--length", type=float, default=1, help="of a run, in seconds or so")
    parser.add_argument("--status-times", type=int, default=10)
    parser.add_against()
    options = parser.read()
    machine = describe()
    installation = rule_sets.make(options.rules)
    try:
        config = "--config", installation.config
        commands: dict[str, Command] = {
            OURS: [BIN / "inkgate-helper", *config],
            THEIRS: [options.against.resolve() / "bin" / "inkgate-helper", *config],
        }
        seconds = status_seconds(installation, options.status_times)
        ratios = rates(commands, options)
    finally:
        installation.close()
    table(
        ("batch", "this : against", "lowest", "highest"),
        [(batch, median(found), min(found), max(found)) for batch, found in ratios.items()],
    )
    table(("inkgate status", "seconds"), [("median", median(seconds)), ("longest", max(seconds))])
    save("health_cost", machine, options, ratios=ratios, status_seconds=seconds)


if __name__ == "__main__":
    main()
