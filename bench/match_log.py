"""How fast `inkgate-rules match` reads a large access.log, cold and warm, on one core and two.

    bench/match_log.py --names top-sites.txt.xz --count 100000 --lines 10000000

The log is generated: hosts by Zipf's law over the names given (made-up ones without),
with planted lines that match and no other. All planted must be found, and nothing
else. Cold: an empty key cache. Warm: that of the run before. Seconds are of the whole
command, its start included; processor seconds are those of all its processes, which
other work on the machine changes less.
"""

from __future__ import annotations

import json
import lzma
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from harness.arguments import Arguments
from harness.machine import describe, save, table
from support.installation import BIN, SETTINGS, Installation, attribute

PLANTED = 1000
_BATCH = 200_000
_ZIPF = 1.0
_PROFILES = 'profiles = { name = "test", ip = "test", url = "test", text = "test" }'


def names_of(path: Path | None, count: int) -> list[str]:
    if path is None:
        return [f"site{n}.example" for n in range(count)]
    opener = lzma.open if path.suffix == ".xz" else open
    with opener(path, "rt", encoding="utf-8") as file:
        return [name for line in file if (name := line.strip().lower()) and "." in name][:count]


def write_log(path: Path, names: list[str], lines: int) -> list[int]:
    """Write the log; the numbers of the planted lines."""
    random = np.random.default_rng(2017)
    weights = 1 / np.arange(1, len(names) + 1) ** _ZIPF
    edges = np.cumsum(weights / weights.sum())
    planted = set(random.choice(lines, PLANTED, replace=False).tolist())
    number = 0
    with path.open("w", encoding="utf-8", buffering=1 << 20) as file:
        while number < lines:
            count = min(_BATCH, lines - number)
            hosts = np.searchsorted(edges, random.random(count)).clip(max=len(names) - 1).tolist()
            paths = random.integers(0, 1 << 30, count).tolist()
            clients = random.integers(0, 2000, count).tolist()
            rows = []
            for host, where, client in zip(hosts, paths, clients, strict=True):
                name, server = names[host], host
                if number in planted:
                    name = f"w{number}.listed{number % 100}.test"
                rows.append(
                    f"{1_700_000_000 + number // 100}.{number % 100:02d}0    {where % 900} "
                    f"10.0.{client >> 8}.{client & 255} TCP_MISS/200 {where % 65536} GET "
                    f"http://{name}/p/{where:x}?q={number} - HIER_DIRECT/"
                    f"100.{64 + (server >> 16)}.{server >> 8 & 255}.{server & 255} text/html\n"
                )
                number += 1
            file.writelines(rows)
    return sorted(planted)


def installed(profiles: str, bulk: int) -> Installation:
    made = Installation(SETTINGS.replace(_PROFILES, f"profiles = {profiles}" if profiles else ""))
    made.add("listed", *(attribute("domain", f"listed{n}.test") for n in range(100)))
    made.add("more", attribute("url", "http://files.test/bad"), attribute("ip-dst", "192.0.2.66"))
    made.add("bulk", *(attribute("domain", f"bulk{n}.test") for n in range(bulk)))
    made.refresh()
    return made


def peak_memory(process: subprocess.Popen[bytes]) -> int:
    """Largest resident size of the command's processes together, looked at while it runs."""
    peak = 0
    top = psutil.Process(process.pid)
    while process.poll() is None:
        total = 0
        try:
            for one in (top, *top.children(recursive=True)):
                total += one.memory_info().rss
        except psutil.Error:
            continue
        peak = max(peak, total)
        time.sleep(0.2)
    return peak


def match(made: Installation, log: Path, jobs: int, planted: list[int]) -> dict[str, Any]:
    out = made.folder / "out.json"
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    with out.open("wb") as file:
        process = subprocess.Popen(
            [
                *(BIN / "inkgate-rules", "--config", made.config, "match", "--json"),
                *(log, "--jobs", str(jobs)),
            ],
            stdout=file,
            stderr=subprocess.PIPE,
        )
        peak = peak_memory(process)
    seconds = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert process.stderr
    errors = process.stderr.read().decode()
    process.wait()
    found = [json.loads(line)["line"] - 1 for line in out.read_text().splitlines()]
    cpu = (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime)
    return {
        "seconds": seconds,
        "cpu": cpu,
        "derived": int(errors.split(" keys derived")[0].rsplit(" ", 1)[1].replace(",", "")),
        "missed": len(set(planted) - set(found)),
        "wrong": len(found) - len(set(planted) & set(found)),
        "rss_mib": peak >> 20,
    }


def main() -> None:
    parser = Arguments(__doc__, count=300, lines=20_000, bulk=500)
    parser.add_argument("--names", type=Path, help="one benign name a line, the busiest first")
    parser.add_argument("--count", type=int, default=5_000, help="how many of the names")
    parser.add_argument("--lines", type=int, default=500_000)
    parser.add_argument("--bulk", type=int, default=20_000, help="rules that match nothing")
    parser.add_argument("--profiles", default="", help="of inkgate.toml; the defaults without")
    parser.add_argument("--jobs", type=int, nargs="+", default=[1, 2])
    options = parser.read()
    machine = describe()
    names = names_of(options.names, options.count)
    made = installed(options.profiles, options.bulk)
    folder = Path(tempfile.mkdtemp(prefix="inkgate-bench-"))
    rows: list[dict[str, Any]] = []
    try:
        log = folder / "access.log"
        planted = write_log(log, names, options.lines)
        for jobs in options.jobs:
            shutil.rmtree(made.folder / "run" / "keys-match", ignore_errors=True)
            for what in ("cold", "warm"):
                load = os.getloadavg()[0]
                rows.append({"keys": what, "jobs": jobs, "load": load})
                rows[-1] |= match(made, log, jobs, planted)
    finally:
        shutil.rmtree(folder)
        made.close()
    for row in rows:
        row["lines_s"] = options.lines / row["seconds"]
        row["lines_cpu_s"] = options.lines / row["cpu"]
    columns = (
        *("keys", "jobs", "seconds", "cpu", "lines_s", "lines_cpu_s"),
        *("derived", "missed", "wrong", "rss_mib", "load"),
    )
    table(columns, [[row[name] for name in columns] for row in rows])
    for what in ("cold", "warm"):
        times = {row["jobs"]: row["seconds"] for row in rows if row["keys"] == what}
        if {1, 2} <= times.keys():
            print(f"{what}: two processes are {times[1] / times[2]:.2f} times as fast as one")
    save("match_log", machine, options, names=len(names), rows=rows)
    sys.exit(1 if any(row["missed"] or row["wrong"] for row in rows) else 0)


if __name__ == "__main__":
    main()
