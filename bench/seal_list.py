"""Sealing a long plain list: time, memory, a second refresh, and the rate beside the bare KDF.

Seals a plain list that is given, which may be compressed, or made-up indicators. Prints
a table and writes bench/results/seal_list.json.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import random
import re
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from pathlib import Path

from harness.arguments import Arguments
from harness.machine import describe, save
from inkgate.rules.crypto.kdf.registry import kdf_of
from inkgate.rules.crypto.profiles import DEFAULT_PROFILES, PROFILES
from inkgate.rules.sources.readers.registry import read_path
from support.installation import BIN, Installation
from support.measured import Cost, measure

SETTINGS = """\
[rules]
sources = [{list}]
publisher = "publisher"
installed = "rules"
token_file = "token"
public_key_file = "publisher.pub"
key_cache = "run/keys"
"""
HKDF = "[rules.profiles]\n" + "".join(f'{k} = "hkdf"\n' for k in DEFAULT_PROFILES)


def made_up(count: int) -> Iterator[str]:
    """Indicators as lists have them: mostly names, then URLs, addresses, ports, digests."""
    pick = random.Random(3)
    for number in range(count):
        word = f"{pick.getrandbits(48):x}"
        part = number % 20
        if part < 13:
            yield f"{word[:4]}.{word}.example" if part < 4 else f"{word}.example"
        elif part < 17:
            yield f"http://{word[:6]}.example/{word}/{word[6:]}.php?id={number}"
        elif part < 19:
            address = f"{pick.choice(('192.0.2', '198.51.100', '203.0.113'))}.{pick.randrange(256)}"
            yield f"{address}:{pick.randrange(1024, 65536)}"
        else:
            yield f"{pick.getrandbits(256):064x}"


def prepared(folder: Path, options: argparse.Namespace) -> Path:
    if options.list:
        return Path(options.list).absolute()
    path = folder / "generated.txt"
    path.write_text("\n".join(made_up(options.generated)) + "\n")
    return path


def refresh(installation: Installation) -> tuple[Cost, dict[str, str]]:
    cost = measure([BIN / "inkgate-rules", "--config", installation.config, "refresh"])
    if cost.status:
        sys.exit(cost.output)
    numbers = dict(re.findall(r"^ +([a-z][a-z ]*[a-z])  +(\S.*)$", cost.output, re.MULTILINE))
    return cost, numbers


def show(name: str, cost: Cost, numbers: dict[str, str]) -> dict[str, object]:
    print(
        f"{name:28} {cost.seconds:8.1f} {cost.cpu_seconds:8.1f} {cost.tree_mib:8.0f} "
        f"{cost.process_mib:8.0f} {cost.load:6.1f}  {numbers['rules']} rules, "
        f"{numbers['refused']} refused",
        flush=True,
    )
    row = cost._asdict()
    del row["output"]
    return {**row, **numbers, "problems": _problems(cost.output)}


def _problems(output: str) -> list[str]:
    found = re.findall(r"^inkgate-rules: (\w+: \d+ \([^)]*\))", output, re.MULTILINE)
    return list(found)


def bare_rate(kind: str, seconds: float) -> float:
    """Derivations of the bare KDF per second of CPU time, in this process."""
    kdf = kdf_of(PROFILES[DEFAULT_PROFILES[kind]])
    count = 0
    started = time.process_time()
    while (used := time.process_time() - started) < seconds:
        kdf.stretch(os.urandom(32), b"0123456789abcdef")
        count += 1
    return count / used


def bare_on_all_cores(kind: str, cores: int, seconds: float) -> float:
    """The mean of the bare rates of as many processes at once as the sealing uses."""
    with ProcessPoolExecutor(cores) as pool:
        rate = functools.partial(bare_rate, seconds=seconds)
        return sum(pool.map(rate, [kind] * cores)) / cores


def dear(path: Path, folder: Path, options: argparse.Namespace) -> dict[str, object]:
    """The default profile: derivations per second of CPU time in the sealing processes."""
    cores = len(os.sched_getaffinity(0))
    names = folder / "names.txt"
    wanted = (a.value for a in read_path(path) if a.type == "domain")
    names.write_text("\n".join(islice(wanted, options.dear)) + "\n")
    installation = Installation(SETTINGS.format(list=json.dumps(str(names))))
    before = bare_on_all_cores("name", cores, options.bare_seconds)
    try:
        cost, numbers = refresh(installation)
    finally:
        installation.close()
    after = bare_on_all_cores("name", cores, options.bare_seconds)
    sealing = float(numbers["sealing"].split()[0])
    cpu = float(re.search(r"([\d.]+) s of CPU", numbers["sealing"])[1])  # type: ignore[index]
    bare = (before + after) / 2
    rate = int(numbers["derived"]) / cpu
    print(
        f"\ndefault profile ({DEFAULT_PROFILES['name']}): {numbers['derived']} derivations, "
        f"{sealing:.1f} s, {cpu:.1f} s of CPU: {rate:.0f} a second and core; "
        f"bare KDF {bare:.0f} ({before:.0f} before, {after:.0f} after): {rate / bare:.1%}"
    )
    return {
        "derived": int(numbers["derived"]),
        "sealing_seconds": sealing,
        "sealing_cpu_seconds": cpu,
        "rate_per_core": rate,
        "bare_rate_per_core": bare,
        "bare_before": before,
        "bare_after": after,
        "ratio": rate / bare,
        "load": cost.load,
    }


def main() -> None:
    parser = Arguments(__doc__, generated=5_000, dear=500, bare_seconds=0.2)
    parser.add_argument(
        "list", nargs="?", default=os.environ.get("INKGATE_BENCH_LIST"), help="a plain list"
    )
    parser.add_argument("--generated", type=int, default=1_000_000, help="lines without a list")
    parser.add_argument("--dear", type=int, default=60_000, help="names for the default profile")
    parser.add_argument("--bare-seconds", type=float, default=3, help="of the bare KDF")
    options = parser.read()
    machine = describe()
    with tempfile.TemporaryDirectory(prefix="inkgate-bench-") as name:
        path = prepared(Path(name), options)
        installation = Installation(SETTINGS.format(list=json.dumps(str(path))) + HKDF)
        print(f"{'':28} {'wall s':>8} {'CPU s':>8} {'tree MiB':>8} {'one MiB':>8} {'load':>6}")
        try:
            first = show("first refresh, hkdf", *refresh(installation))
            second = show("second, nothing changed", *refresh(installation))
        finally:
            installation.close()
        for problem in first["problems"]:  # type: ignore[attr-defined]
            print(f"  {problem}")
        # What took long is kept, whatever happens to the rest.
        save("seal_list", machine, options, first=first, second=second)
        dearly = dear(path, Path(name), options)
    target = save("seal_list", machine, options, first=first, second=second, default_profile=dearly)
    print(f"written: {target}")


if __name__ == "__main__":
    main()
