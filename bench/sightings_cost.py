"""What sightings cost the helper: lines a second with and without them, 1 % matches.

Both helpers get the same requests, in turns: warm hosts that are not listed, and every
hundredth one that is. The helpers' own processor time is given as well: it is what
others at work on the machine disturb least. Prints a table and writes
bench/results/sightings_cost.json.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from support.installation import BIN, Installation, attribute

from sightings.journal import Journal

HOSTS = 20_000
# Long enough that what happens once, as preparing statements, does not count.
LINES = 600_000
LISTED = 200
EVERY = 100
RUNS = 15
BATCHES = (16, 256)


def requests() -> list[bytes]:
    lines = []
    for n in range(LINES):
        name = b"listed%d" % (n // EVERY % LISTED) if n % EVERY == 0 else b"host%d" % (n % HOSTS)
        lines.append(b"%d GET http://%s.example/a/path?x=%d 192.0.2.1 - - -\n" % (n, name, n))
    return lines


def rate(config: Path, lines: list[bytes], batch: int) -> tuple[float, float]:
    """Lines a second with `batch` requests under way at a time, after one warming round.

    And the helper's processor time for it, in microseconds a line.
    """
    process = subprocess.Popen(
        [BIN / "inkgate-helper", "--config", config],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin
    assert process.stdout
    into, out = process.stdin.fileno(), process.stdout.fileno()
    exchange(into, out, lines[:HOSTS], 256)
    used = processor_time(process.pid)
    started = time.perf_counter()
    exchange(into, out, lines, batch)
    seconds = time.perf_counter() - started
    used = processor_time(process.pid) - used
    process.stdin.close()
    process.wait()
    return len(lines) / seconds, used / len(lines) * 1e6


def processor_time(pid: int) -> float:
    """Seconds, of all threads (proc(5), schedstat)."""
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9


def exchange(into: int, out: int, lines: list[bytes], batch: int) -> None:
    for start in range(0, len(lines), batch):
        part = lines[start : start + batch]
        data = b"".join(part)
        while data:
            data = data[os.write(into, data) :]
        wanted = len(part)
        while wanted > 0:
            wanted -= os.read(out, 1 << 16).count(b"\n")


def main() -> None:
    installation = Installation()
    names = (f"listed{n}.example" for n in range(LISTED))
    installation.add("listed", *(attribute("domain", name) for name in names))
    installation.refresh()
    text = installation.config.read_text()
    without = installation.config.with_name("without.toml")
    without.write_text(text.replace('journal = "run/sightings.db"', 'journal = ""'))
    lines = requests()
    results: dict[str, dict[int, list[tuple[float, float]]]] = {"with": {}, "without": {}}
    contenders = [("with", installation.config), ("without", without)]
    for batch in BATCHES:
        for _ in range(RUNS):
            for name, config in contenders:
                results[name].setdefault(batch, []).append(rate(config, lines, batch))
            contenders.reverse()
    journalled = sum(1 for _ in Journal(installation.folder / "run/sightings.db").read())
    expected = len(BATCHES) * RUNS * (LINES + HOSTS) // EVERY
    installation.close()
    report(results)
    print(f"journalled {journalled} of {expected} matches")
    assert journalled == expected


def report(results: dict[str, dict[int, list[tuple[float, float]]]]) -> None:
    print(f"medians of {RUNS} runs   {'lines/s':>24}{'processor time, us/line':>32}")
    print(f"{'batch':>6}" + f"{'with':>12}{'without':>12}{'ratio':>8}" * 2)
    for batch in BATCHES:
        print(f"{batch:>6}", end="")
        for what in (0, 1):
            on, off = (
                statistics.median(run[what] for run in results[name][batch])
                for name in ("with", "without")
            )
            # Above 1 is better for sightings in both columns.
            ratio = on / off if what == 0 else off / on
            form = ",.0f" if what == 0 else ".3f"
            print(f"{on:>12{form}}{off:>12{form}}{ratio:>8.3f}", end="")
        print()
    path = Path(__file__).parent / "results" / "sightings_cost.json"
    path.parent.mkdir(exist_ok=True)
    machine = {"cores": os.cpu_count(), "python": platform.python_version()}
    path.write_text(json.dumps({"machine": machine, "lines_per_second": results}, indent=1))


if __name__ == "__main__":
    main()
