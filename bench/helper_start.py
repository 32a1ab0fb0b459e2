"""Seconds from a helper's start to its first answer, and what it loads for that.

Squid starts helpers when it starts and when it is reconfigured, and asks the first of
them at once. Two installations can be measured in turns, each pair in an order drawn
anew, for instance the one of an older version: --against names its virtual environment.
Both use the same rules. Prints tables and writes bench/results/helper_start.json.
"""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from harness.arguments import Arguments
from harness.machine import describe, median, save, table
from support.installation import Installation, attribute

OURS = "this"
THEIRS = "against"
LISTED = 1000
_REQUEST = b"1 GET http://listed1.example/ 192.0.2.1 - - -\n"
_MODULES = """
import importlib, json, sys
before = set(sys.modules)
importlib.import_module(sys.argv[1])
print(json.dumps(sorted(set(sys.modules) - before)))
"""


class Start(NamedTuple):
    """One start.

    Attributes:
        answer: seconds until the first answer.
        cpu: seconds of the processor until the end, which comes right after it.
    """

    answer: float
    cpu: float


def start(environment: Path, config: Path) -> Start:
    """Start a helper, ask it for a listed name, and end it."""
    began = time.perf_counter()
    process = subprocess.Popen(
        [environment / "bin" / "inkgate-helper", "--config", config],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd="/",
    )
    assert process.stdin
    assert process.stdout
    process.stdin.write(_REQUEST)
    process.stdin.flush()
    answer = process.stdout.readline()
    answered = time.perf_counter() - began
    assert answer.startswith(b"1 OK "), answer
    process.stdin.close()
    process.stdout.close()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return Start(answered, usage.ru_utime + usage.ru_stime)


def in_pairs(environments: dict[str, Path], config: Path, pairs: int) -> dict[str, list[Start]]:
    """So many starts of each, in turns; what the disk's cache lacks is read before."""
    found: dict[str, list[Start]] = {name: [] for name in environments}
    for environment in environments.values():
        start(environment, config)
    for _ in range(pairs):
        for name in random.sample(list(environments), len(environments)):
            found[name].append(start(environments[name], config))
    return found


def modules(environment: Path) -> list[str]:
    """What starting the helper imports, without what the interpreter has loaded before."""
    script = (environment / "bin" / "inkgate-helper").read_text()
    found = re.search(r"^from (\S+) import main$", script, re.MULTILINE)
    assert found, f"{environment}: who made this inkgate-helper?"
    done = subprocess.run(
        [environment / "bin" / "python", "-c", _MODULES, found[1]],
        stdout=subprocess.PIPE,
        cwd="/",
        check=True,
    )
    names: list[str] = json.loads(done.stdout)
    return names


def foreign(names: list[str]) -> list[str]:
    """Those packages of them that are neither Python's nor ours."""
    ours = {"inkgate", "helper", "rules", "sightings"}
    return sorted({name.partition(".")[0] for name in names} - ours - sys.stdlib_module_names)


def main() -> None:
    parser = Arguments(__doc__, starts=2)
    parser.add_argument("--starts", type=int, default=20, help="of each installation")
    parser.add_argument(
        "--this", type=Path, default=Path(sys.prefix), metavar="PATH", help="[this environment]"
    )
    parser.add_argument(
        "--against", type=Path, metavar="PATH", help="another virtual environment with inkgate"
    )
    options = parser.read()
    machine = describe()
    environments = {OURS: options.this.resolve()}
    if options.against:
        environments[THEIRS] = options.against.resolve()
    loaded = {name: modules(path) for name, path in environments.items()}
    installation = Installation()
    try:
        installation.add(
            "listed", *(attribute("domain", f"listed{n}.example") for n in range(LISTED))
        )
        installation.refresh()
        measured = in_pairs(environments, installation.config, options.starts)
    finally:
        installation.close()
    report(measured, loaded)
    save(
        "helper_start",
        machine,
        options,
        starts={name: [s._asdict() for s in found] for name, found in measured.items()},
        ratios=ratios(measured),
        modules=loaded,
    )


def ratios(measured: dict[str, list[Start]]) -> dict[str, float]:
    """Ours to theirs: of the medians, and the median of the pairs' own ratios."""
    if THEIRS not in measured:
        return {}
    pairs = list(zip(measured[OURS], measured[THEIRS], strict=True))
    return {
        "answer": median([a.answer for a, _ in pairs]) / median([b.answer for _, b in pairs]),
        "answer_of_pairs": median([a.answer / b.answer for a, b in pairs]),
        "cpu": median([a.cpu for a, _ in pairs]) / median([b.cpu for _, b in pairs]),
        "cpu_of_pairs": median([a.cpu / b.cpu for a, b in pairs]),
    }


def report(measured: dict[str, list[Start]], loaded: dict[str, list[str]]) -> None:
    rows = [
        (
            name,
            median([start.answer for start in found]),
            min(start.answer for start in found),
            median([start.cpu for start in found]),
            len(loaded[name]),
            ", ".join(foreign(loaded[name])),
        )
        for name, found in measured.items()
    ]
    table(("helper", "first answer s", "fastest s", "CPU s", "modules", "from elsewhere"), rows)
    if found := ratios(measured):
        table(("this to the other", "ratio"), list(found.items()))


if __name__ == "__main__":
    main()
