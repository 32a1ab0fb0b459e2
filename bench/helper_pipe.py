"""Lines a second through the helper's pipe, beside squidGuard on the same requests.

squidGuard (Debian's package) keeps its lists in clear in Berkeley DBs; inkgate
keeps encrypted rules. Both get the same requests for unlisted hosts, in turns:
warm (hosts seen before), half of them new, all of them new. Then the wait of warm
requests, one at a time, alone and while new hosts keep all derivations busy.
Prints tables and writes bench/results/helper_pipe.json.
"""

from __future__ import annotations

import argparse
import itertools
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from harness import rule_sets
from harness.arguments import Arguments
from harness.machine import describe, median, save, table
from harness.pipe import Command, Helper, our_line, squidguard, squidguard_line
from support.installation import BIN, Installation

BATCHES = (1, 16, 256)
# Part of the requests that ask for a host never seen, and lines for a run of one second
# or so with batches of 1, 16 and 256.
SHARES = {
    "warm": (0.0, (20_000, 200_000, 400_000)),
    "half cold": (0.5, (1_000, 2_000, 4_096)),
    "all cold": (1.0, (500, 1_000, 2_048)),
}
STORM = 200

Line = Callable[[int, bytes], bytes]
Rates = dict[str, dict[int, dict[str, list[float]]]]
_new = itertools.count()


def hosts(share: float, count: int, known: int) -> Iterator[bytes]:
    """Host names, of which a share was never used before; the others are so many known ones."""
    for number in range(count):
        if int((number + 1) * share) > int(number * share):
            yield b"new%d.example" % next(_new)
        else:
            # A step that shares no factor with the number of hosts: all are used.
            yield b"host%d.example" % (number * 7919 % known)


def start(command: Command, line: Line, known: int) -> Helper:
    """Start a helper and show it all known hosts."""
    helper = Helper(command)
    helper.exchange([line(n, b"host%d.example" % n) for n in range(known)], 256)
    return helper


def rates(contenders: dict[str, tuple[Command, Line]], options: argparse.Namespace) -> Rates:
    """Lines a second by kind of stream, batch size and contender."""
    results: Rates = {}
    known = options.hosts
    for _ in range(options.starts):
        helpers = {name: (start(*what, known), what[1]) for name, what in contenders.items()}
        for kind, (share, counts) in SHARES.items():
            for batch, count in zip(BATCHES, counts, strict=True):
                found = results.setdefault(kind, {}).setdefault(batch, {n: [] for n in helpers})
                lines = max(1, round(count * options.length))
                for _ in range(options.runs):
                    stream = list(hosts(share, lines, known))
                    for name, rate in in_turns(helpers, stream, batch):
                        found[name].append(rate)
        for helper, _ in helpers.values():
            helper.close()
    return results


def in_turns(
    helpers: dict[str, tuple[Helper, Line]], stream: list[bytes], batch: int
) -> Iterator[tuple[str, float]]:
    """One run of each contender on the same requests, in an order drawn anew."""
    for name in random.sample(list(helpers), len(helpers)):
        helper, line = helpers[name]
        lines = [line(number, host) for number, host in enumerate(stream)]
        yield name, len(stream) / helper.exchange(lines, batch)


def waits(command: Command, options: argparse.Namespace) -> dict[str, list[dict[str, float]]]:
    """Seconds that single warm requests wait, without and with a storm of new hosts."""
    helper = start(command, our_line, options.hosts)
    results: dict[str, list[dict[str, float]]] = {"calm": [], "storm": []}
    for _ in range(options.runs):
        for name, storm in (("calm", 0), ("storm", STORM)):
            found = probe(helper, options.probes, options.hosts, storm)
            results[name].append(quantiles(found))
    helper.close()
    return results


def probe(helper: Helper, count: int, known: int, storm: int) -> list[float]:
    """Ask for warm hosts, one every 0.3 ms or so, while `storm` new hosts are under way."""
    found = []
    cold = 0
    for number in range(count):
        if cold < storm // 2:
            new = hosts(1, storm - cold, known)
            lines = [our_line(10**6 + n, host) for n, host in enumerate(new)]
            helper.send(b"".join(lines))
            cold = storm
        time.sleep(0.0003)
        line = our_line(number, b"host%d.example" % (number * 7919 % known))
        started = time.perf_counter()
        helper.send(line)
        answered = False
        while not answered:
            for answer in helper.read().splitlines():
                if int(answer.split(b" ")[0]) < 10**6:
                    answered = True
                else:
                    cold -= 1
        found.append(time.perf_counter() - started)
    while cold > 0:
        cold -= helper.read().count(b"\n")
    return found


def quantiles(values: list[float]) -> dict[str, float]:
    ordered = sorted(values)
    return {
        name: ordered[int(len(ordered) * part)] * 1000
        for name, part in (("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999))
    }


def main() -> None:
    parser = Arguments(__doc__, rules=20_000, starts=1, runs=1, hosts=300, length=0.02, probes=100)
    parser.add_argument("--rules", type=int, default=1_000_000)
    # Two equal processes differ by some hundredths for as long as they live.
    parser.add_argument("--starts", type=int, default=3, help="of each helper")
    parser.add_argument("--runs", type=int, default=5, help="of each start")
    parser.add_argument("--hosts", type=int, default=20_000, help="that are known")
    parser.add_argument("--length", type=float, default=1, help="of a run, in seconds or so")
    parser.add_argument("--probes", type=int, default=2_000, help="requests one by one")
    options = parser.read()
    machine = describe()
    installation = rule_sets.make(options.rules)
    contenders: dict[str, tuple[Command, Line]] = {"inkgate": (command(installation), our_line)}
    with tempfile.TemporaryDirectory() as folder:
        if peer := their_command(Path(folder), options.rules):
            contenders["squidGuard"] = (peer, squidguard_line)
        measured = rates(contenders, options)
    waited = waits(command(installation), options)
    installation.close()
    report(measured, waited)
    save(
        "helper_pipe",
        machine,
        options,
        lines_per_second=measured,
        wait_ms=waited,
    )


def command(installation: Installation) -> Command:
    return [BIN / "inkgate-helper", "--config", installation.config]


def their_command(folder: Path, rules: int) -> Command | None:
    clear = rule_sets.clear_text(rules)
    return squidguard(folder, clear.domains, clear.urls)


def report(measured: Rates, waited: dict[str, list[dict[str, float]]]) -> None:
    rows: list[tuple[object, ...]] = []
    names: list[str] = []
    for kind, batches in measured.items():
        for batch, found in batches.items():
            names = list(found)
            medians = [median(runs) for runs in found.values()]
            rows.append((kind, batch, *medians, medians[0] / medians[-1]))
    table(("stream", "batch", *names, "ratio"), rows)
    rows = [
        (name, *(median([run[q] for run in runs]) for q in ("p50", "p99", "p99.9")))
        for name, runs in waited.items()
    ]
    table(("warm, one by one", "p50 ms", "p99 ms", "p99.9 ms"), rows)


if __name__ == "__main__":
    main()
