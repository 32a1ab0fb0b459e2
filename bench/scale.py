"""What the number of rules costs: a look-up, the start, the memory of one more child.

    bench/scale.py --rules 10000 100000 1000000 10000000

Each size is a generated rule set of the real format. A look-up is measured for new
names with its derivation (default profile), for the same names with their keys at
hand, for listed names with their keys at hand, and for a search among the rules
alone, each for a tag that was never looked for (so in pages not yet mapped).
"""

from __future__ import annotations

import functools
import itertools
import random
import time
from pathlib import Path
from typing import TypedDict

import psutil

from harness import rule_sets
from harness.arguments import Arguments
from harness.machine import describe, median, save, table
from harness.pipe import Helper, our_line
from inkgate.rules.canonical import Host
from inkgate.rules.crypto.keys import read_token
from inkgate.rules.install.generation import Generation
from inkgate.rules.install.install import open_current
from inkgate.rules.lookup.matcher import Matcher
from support.installation import BIN, Installation

_LOOKUPS = 1_000
_KINDS = ("new", "known", "listed", "search")
_CHILDREN = 3


class Found(TypedDict):
    """What was measured at one size."""

    made_seconds: float
    mib_on_disk: float
    lookup_us: dict[str, list[float]]
    start_ms: list[float]
    children_pss_mib: list[float]


def lookup_cost(installation: Installation, runs: int) -> dict[str, list[float]]:
    """Microseconds of a look-up."""
    places = installation.places
    generation = open_current(places.installed, installation.settings.caps)
    matcher = Matcher(generation, read_token(places.token_file), functools.cache)
    results: dict[str, list[float]] = {kind: [] for kind in _KINDS}
    chance = random.Random(2016)
    listed = [rule_sets.listed_domain(n) for n in range(rule_sets.LISTED)]
    _time(matcher, listed)
    for _ in range(runs):
        names = [f"{chance.getrandbits(64):x}.example" for _ in range(_LOOKUPS)]
        results["new"].append(_time(matcher, names))
        results["known"].append(_time(matcher, names))
        results["listed"].append(_time(matcher, listed))
        results["search"].append(_search_time(generation, chance))
    generation.close()
    return results


def _time(matcher: Matcher, names: list[str]) -> float:
    hosts = [Host("name", name) for name in names]
    started = time.perf_counter()
    for host in hosts:
        matcher.host(host, 80)
    return (time.perf_counter() - started) / len(hosts) * 1e6


def _search_time(generation: Generation, chance: random.Random) -> float:
    tags = [chance.randbytes(32) for _ in range(_LOOKUPS)]
    started = time.perf_counter()
    for tag in tags:
        generation.find("domain", tag)
    return (time.perf_counter() - started) / len(tags) * 1e6


def start_up(installation: Installation) -> float:
    """Milliseconds from starting a helper to its first answer."""
    started = time.perf_counter()
    helper = Helper([BIN / "inkgate-helper", "--config", installation.config])
    helper.exchange([our_line(0, b"listed1.example")], 1)
    taken = (time.perf_counter() - started) * 1000
    helper.close()
    return taken


def memory(installation: Installation, hosts: int) -> list[float]:
    """PSS in MiB of the last of 1, 2, 3 children that have all answered so many hosts."""
    children: list[Helper] = []
    found = []
    lines = [our_line(n, b"host%d.example" % n) for n in range(hosts)]
    for _ in range(_CHILDREN):
        helper = Helper([BIN / "inkgate-helper", "--config", installation.config])
        helper.exchange(lines, 256)
        children.append(helper)
        time.sleep(0.5)
        sizes = [psutil.Process(c.process.pid).memory_full_info().pss for c in children]
        found.append(sum(sizes) / 2**20)
    for helper in children:
        helper.close()
    return [found[0], *(b - a for a, b in itertools.pairwise(found))]


def measure(rules: int, runs: int, hosts: int) -> Found:
    started = time.perf_counter()
    installation = rule_sets.make(rules)
    made = time.perf_counter() - started
    folder = (installation.places.installed / "current").resolve()
    try:
        return {
            "made_seconds": made,
            "mib_on_disk": sum(p.stat().st_size for p in folder.iterdir()) / 2**20,
            "lookup_us": lookup_cost(installation, runs),
            "start_ms": [start_up(installation) for _ in range(runs)],
            "children_pss_mib": memory(installation, hosts),
        }
    finally:
        installation.close()


def plot(results: dict[int, Found], path: Path) -> None:
    import matplotlib as mpl  # noqa: PLC0415 (slow to import)

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    figure, axes = plt.subplots(1, 3, figsize=(11, 3.2))
    sizes = list(results)
    for name in _KINDS:
        axes[0].plot(
            sizes, [median(r["lookup_us"][name]) for r in results.values()], "o-", label=name
        )
    axes[0].set_yscale("log")
    axes[0].legend()
    axes[1].plot(sizes, [median(r["start_ms"]) for r in results.values()], "o-")
    axes[2].plot(sizes, [r["children_pss_mib"][1] for r in results.values()], "o-")
    titles = ("one look-up, us", "start to first answer, ms", "one more child, MiB (PSS)")
    for axis, title in zip(axes, titles, strict=True):
        axis.set(xscale="log", xlabel="rules", title=title)
        axis.grid(alpha=0.3)
    for axis in axes[1:]:
        axis.set_ylim(bottom=0)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = Arguments(__doc__, rules=[10_000], runs=1, hosts=500)
    parser.add_argument(
        "--rules", type=int, nargs="+", default=[10_000, 100_000, 1_000_000, 10_000_000]
    )
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--hosts", type=int, default=20_000, help="that each child has answered")
    parser.add_argument("--plot", type=Path, help="write a PNG here")
    options = parser.read()
    machine = describe()
    results = {rules: measure(rules, options.runs, options.hosts) for rules in options.rules}
    save("scale", machine, options, results=results)
    table(
        ("rules", *(f"{kind} us" for kind in _KINDS), "start ms", "child MiB", "one more MiB"),
        [
            (
                rules,
                *(median(runs) for runs in found["lookup_us"].values()),
                median(found["start_ms"]),
                *found["children_pss_mib"][:2],
            )
            for rules, found in results.items()
        ],
    )
    if options.plot:
        plot(results, options.plot)


if __name__ == "__main__":
    main()
