"""The machine that a result is from, and where results go."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

RESULTS = Path(__file__).parents[1] / "results"


def describe() -> dict[str, object]:
    """Processor, memory, versions, and how busy the machine is now."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        "unknown",
    )
    return {
        "cores": len(os.sched_getaffinity(0)),
        "processor": model,
        "memory_mib": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20,
        "kernel": platform.release(),
        "python": platform.python_version(),
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "load": os.getloadavg(),
    }


def result_path(name: str, options: argparse.Namespace) -> Path:
    """Where a program's result goes; that of a quick run beside it."""
    RESULTS.mkdir(exist_ok=True)
    kind = ".quick" if options.quick else ""
    stem, _, ending = name.partition(".")
    return RESULTS / f"{stem}{kind}.{ending or 'json'}"


def save(
    name: str, machine: Mapping[str, object], options: argparse.Namespace, **results: object
) -> Path:
    """Write bench/results/NAME.json; `machine` was described before the run."""
    path = result_path(name, options)
    machine = {**machine, "load_after": os.getloadavg()}
    found = {"machine": machine, "settings": vars(options), **results}
    path.write_text(json.dumps(found, indent=1, default=str) + "\n")
    return path


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table; numbers to the right."""
    cells = [[_cell(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(head, *cells, strict=True)]
    for row in (head, *cells):
        print("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)))
    print(flush=True)


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.3f}" if abs(value) < 100 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
