"""How many derivations unlisted hosts cost: when new, and when they should cost none.

A real helper is asked for each name once; then a second child, a restarted one, and
one that sees a refresh in the same epoch are asked for the same names.

    bench/derivations.py --names top-sites.txt.xz --indicators list.txt.xz

Without files, names are made up and the rule set is a generated one, whose gates
are as full but hold no name that others share a suffix with.
"""

from __future__ import annotations

import lzma
import random
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from harness import rule_sets
from harness.arguments import Arguments
from harness.machine import describe, save, table
from support.helper_process import HelperProcess
from support.installation import Installation, attribute

_PROFILES = '{ name = "hkdf", ip = "hkdf", url = "hkdf", text = "hkdf" }'
_DOMAIN = re.compile(r"(?=.*[a-z])[a-z0-9-]+(?:\.[a-z0-9-]+)*\.[a-z][a-z0-9-]*")
_BATCH = 256
_EVENT = 20_000


def read_lines(path: Path) -> list[str]:
    opener = lzma.open if path.suffix == ".xz" else open
    with opener(path, "rt", encoding="utf-8", errors="replace") as file:
        return [line.strip() for line in file if line.strip()]


def domains(lines: Iterable[str]) -> list[str]:
    return [line for line in lines if _DOMAIN.fullmatch(line)]


def sealed(path: Path, count: int) -> Installation:
    """An installation with so many indicators of a file: domains, and URLs with a path."""
    chosen = random.Random(2016).sample(read_lines(path), count)
    made = Installation(
        rule_sets.SETTINGS.replace(
            '{ name = "test", ip = "test", url = "test", text = "test" }', _PROFILES
        )
    )
    attributes = [
        attribute("url" if "/" in line else "domain", line)
        for line in chosen
        if "/" in line or _DOMAIN.fullmatch(line)
    ]
    for start in range(0, len(attributes), _EVENT):
        made.add(f"part-{start:08d}", *attributes[start : start + _EVENT])
    made.refresh()
    return made


def ask(helper: HelperProcess, names: list[str]) -> dict[str, int]:
    """Ask for each name once; its verdicts and derivations."""
    before = helper.derivations
    verdicts = [
        verdict
        for start in range(0, len(names), _BATCH)
        for verdict in helper.ask(*(f"http://{n}/" for n in names[start : start + _BATCH]))
    ]
    return {
        "names": len(names),
        "listed": verdicts.count(b"OK"),
        "derivations": helper.derivations - before,
    }


def measure(installation: Installation, names: list[str]) -> Iterator[tuple[str, dict[str, int]]]:
    first = HelperProcess(installation)
    yield "new", ask(first, names)
    yield "again", ask(first, names)
    second = HelperProcess(installation)
    yield "second child", ask(second, names)
    second.close()
    installation.add("added", attribute("domain", "added.example"))
    installation.refresh()
    first.wait_for("http://added.example/", b"OK")
    yield "after a refresh", ask(first, names)
    first.close()
    restarted = HelperProcess(installation)
    yield "after a restart", ask(restarted, names)
    restarted.close()


def main() -> None:
    parser = Arguments(__doc__, count=500, rules=10_000)
    parser.add_argument("--names", type=Path, help="one benign name a line")
    parser.add_argument("--indicators", type=Path, help="one domain or URL a line")
    parser.add_argument("--count", type=int, default=20_000, help="names to ask for")
    parser.add_argument("--rules", type=int, default=200_000)
    options = parser.read()
    machine = describe()
    names = (
        domains(read_lines(options.names))[: options.count]
        if options.names
        else [f"site{n}.example" for n in range(options.count)]
    )
    installation = (
        sealed(options.indicators, options.rules)
        if options.indicators
        else rule_sets.make(options.rules, profiles=_PROFILES)
    )
    found = dict(measure(installation, names))
    installation.close()
    table(
        ("names are", "names", "listed", "derivations", "per name"),
        [
            (what, *counts.values(), counts["derivations"] / counts["names"])
            for what, counts in found.items()
        ],
    )
    save("derivations", machine, options, found=found)


if __name__ == "__main__":
    main()
