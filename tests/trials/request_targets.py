"""What nginx, Apache and Python's server deliver of listed files is blocked, however it is asked.

    python tests/trials/request_targets.py [--targets 100000] [--seed N] [--servers NAME ...]

Targets, half of them made of those of listed files, are sent to each server as they are. Where
one delivers a listed file, the canonical URL of the file is among those under which the request
is looked up. Ends with 1 if it is not, but for the ways that docs/format.md names.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
from itertools import islice
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.delivered_files import given_files, values
from support.file_servers import SERVERS
from support.request_targets import targets

LACKING = 77


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--targets", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--servers", nargs="+", choices=list(SERVERS), default=list(SERVERS))
    options = parser.parse_args()
    missing = [name for name in options.servers if not _program(name)]
    if missing:
        print(f"needs {', '.join(missing)}")
        sys.exit(LACKING)
    print(f"seed {options.seed}", flush=True)
    asked = list(islice(targets(random.Random(options.seed)), options.targets))
    passed = 0
    for name in options.servers:
        given = given_files(name, asked)
        missed = [target for target, listed in given if listed not in values(target)]
        print(f"{name}: {len(asked)} targets, {len(given)} delivered a listed file", flush=True)
        print(*sorted(missed, key=len)[:20], sep="\n", flush=True)
        passed += len(missed)
    sys.exit(1 if passed else 0)


def _program(name: str) -> str | None:
    return shutil.which(name) or shutil.which(f"/usr/sbin/{name}")


if __name__ == "__main__":
    main()
