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
import tempfile
from itertools import islice
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from inkgate.rules.canonical import Refused, canonical_url, observed_url
from support.file_servers import SERVERS, delivered, serving
from support.request_targets import targets, write_files

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
        gave, missed = looked_up(name, asked)
        print(f"{name}: {len(asked)} targets, {gave} delivered a listed file", flush=True)
        print(*sorted(missed, key=len)[:20], sep="\n", flush=True)
        passed += len(missed)
    sys.exit(1 if passed else 0)


def _program(name: str) -> str | None:
    return shutil.which(name) or shutil.which(f"/usr/sbin/{name}")


def looked_up(name: str, asked: list[bytes]) -> tuple[int, list[bytes]]:
    """How many targets gave a listed file of a server, and which of them would not be blocked."""
    with tempfile.TemporaryDirectory(prefix="inkgate-targets-") as folder:
        files, work = Path(folder) / "files", Path(folder) / "work"
        files.mkdir()
        work.mkdir()
        listed = {content: canonical_url(url).value for content, url in write_files(files).items()}
        with serving(name, files, work) as port:
            given = [
                (target, listed[body])
                for target, body in zip(asked, delivered(port, asked), strict=True)
                if body in listed
            ]
    return len(given), [target for target, value in given if value not in values(target)]


def values(target: bytes) -> tuple[str, ...]:
    """The canonical values under which a request is looked up."""
    try:
        return observed_url("http://files.example" + target.decode("utf-8", "surrogateescape"))
    except Refused:
        return ()


if __name__ == "__main__":
    main()
