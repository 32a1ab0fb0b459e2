"""Odd heads, from clients and from servers, through a real Squid: nothing listed passes.

    python tests/trials/fuzzed_heads.py [--rounds 100] [--seed 1]

With helper and ICAP, `open` and `closed`. After each round others are served as always, the
helper's answers belong to their requests, and no log tells of a fault of inkgate's own. What
is found is printed with the round that sends it again.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
from pathlib import Path
from typing import get_args

sys.path.insert(0, str(Path(__file__).parents[1]))

from inkgate.icap_server.settings import Fail
from support.fuzzed_squid import FuzzedSquid, fuzzed_squid

LACKING = 77
HEADS = 100


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=100, help=f"of {HEADS} heads each [100]")
    parser.add_argument("--seed", type=int, default=1, help="of the first round [1]")
    options = parser.parse_args()
    if not shutil.which("squid", path="/usr/sbin:/usr/bin"):
        print("squid is not installed; on Debian: apt-get install squid-openssl")
        sys.exit(LACKING)
    seeds = range(options.seed, options.seed + options.rounds)
    found = 0
    for front_end in ("helper", "icap"):
        for fail in get_args(Fail):
            with fuzzed_squid(front_end, fail) as squid:
                some = sum(one_round(squid, seed) for seed in seeds)
            print(f"{front_end}, {fail}: {len(seeds) * HEADS} heads, {some} faults", flush=True)
            found += some
    sys.exit(1 if found else 0)


def one_round(squid: FuzzedSquid, seed: int) -> int:
    """Send the heads of a seed; how many faults they brought."""
    found = squid.round(random.Random(seed), HEADS)
    for what, sent in found:
        print(f"  seed {seed}: {what}: {sent[:500]!r}", flush=True)
    return len(found)


if __name__ == "__main__":
    main()
