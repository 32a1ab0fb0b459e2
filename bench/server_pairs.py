"""What one `domain|ip` rule costs log matching and the helper's look-up of replies.

Such a rule can match any pair of a host and one of its servers, so each pair that is seen
for the first time is looked at. A log, and the same requests asked of a helper, hold every
pair of so many hosts and servers. Two installations answer in turns, in an order drawn
anew each time, with empty key caches: one with a `domain|ip` rule, one with all the same
rules but that. The line of the listed pair must be found, and no line by the other one.
"""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from harness.arguments import Arguments
from harness.machine import describe, median, save, table
from harness.pipe import Helper
from support.installation import BIN, SETTINGS, Installation, attribute
from support.logs import access_line

WITH, WITHOUT = "with", "without"
_PROFILES = 'profiles = { name = "test", ip = "test", url = "test", text = "test" }'
_BATCH = 256
_DERIVED = " keys derived"


def server(number: int) -> str:
    return f"198.51.{100 + (number >> 8)}.{number & 255}"


def host(number: int, labels: int) -> str:
    return "www." * (labels - 2) + f"site{number}.example"


def installed(bulk: int, pair: tuple[str, str] | None) -> Installation:
    made = Installation(SETTINGS.replace(_PROFILES, ""))
    made.configure("domain_ip_by_domain = false")
    made.add("listed", attribute("ip-dst", "192.0.2.66"), attribute("url", "http://f.test/bad"))
    made.add("bulk", *(attribute("domain", f"bulk{n}.test") for n in range(bulk)))
    if pair is not None:
        made.add("pair", attribute("domain|ip", "|".join(pair)))
    made.refresh()
    return made


def pairs_of(hosts: int, labels: int, servers: int, lines: int) -> list[tuple[str, str]]:
    """So many pairs in an order of chance; all of them once before one comes again."""
    every = [(host(h, labels), server(s)) for h in range(hosts) for s in range(servers)]
    random.Random(2022).shuffle(every)
    return [every[n % len(every)] for n in range(lines)]


def forget(made: Installation) -> None:
    for name in ("keys", "keys-match"):
        shutil.rmtree(made.folder / "run" / name, ignore_errors=True)


def of_log(made: Installation, log: Path) -> dict[str, Any]:
    forget(made)
    started = time.perf_counter()
    done = subprocess.run(
        [
            *(BIN / "inkgate-rules", "--config", made.config, "match", "--json"),
            *("--jobs", "1", log),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.perf_counter() - started
    derived = done.stderr.split(_DERIVED)[0].rsplit(" ", 1)[1].replace(",", "")
    found = [json.loads(line)["line"] for line in done.stdout.splitlines()]
    return {"seconds": seconds, "derived": int(derived), "found": found}


def of_replies(made: Installation, pairs: list[tuple[str, str]]) -> dict[str, Any]:
    forget(made)
    lines = [
        f"{n} GET http://{name}/p?{n} 192.0.2.1 {address} - -\n".encode()
        for n, (name, address) in enumerate(pairs)
    ]
    helper = Helper([BIN / "inkgate-helper", "--config", made.config])
    # Its start is not measured.
    helper.exchange(lines[:1], 1)
    seconds = helper.exchange(lines, _BATCH)
    helper.close()
    return {"seconds": seconds}


def main() -> None:
    parser = Arguments(__doc__, lines=2_000, hosts=20, servers=100, bulk=500, rounds=1)
    parser.add_argument("--lines", type=int, default=60_000)
    parser.add_argument("--hosts", type=int, default=300)
    parser.add_argument("--labels", type=int, default=3, help="of a host (2 or 3)")
    parser.add_argument("--servers", type=int, default=200)
    parser.add_argument("--bulk", type=int, default=20_000, help="rules that match nothing")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.read()
    machine = describe()
    pairs = pairs_of(options.hosts, options.labels, options.servers, options.lines)
    listed = pairs[len(pairs) // 2]
    wanted = {WITH: [n for n, pair in enumerate(pairs, 1) if pair == listed], WITHOUT: []}
    made = {WITH: installed(options.bulk, listed), WITHOUT: installed(options.bulk, None)}
    folder = Path(tempfile.mkdtemp(prefix="inkgate-bench-"))
    runs: dict[str, dict[str, list[dict[str, Any]]]] = {
        what: {name: [] for name in made} for what in ("log", "replies")
    }
    try:
        log = folder / "access.log"
        log.write_text(
            "".join(
                access_line(f"http://{name}/p?{n}", server=address, number=n) + "\n"
                for n, (name, address) in enumerate(pairs)
            )
        )
        for _ in range(options.rounds):
            for name in random.sample(list(made), len(made)):
                runs["log"][name].append(of_log(made[name], log))
                runs["replies"][name].append(of_replies(made[name], pairs))
    finally:
        shutil.rmtree(folder)
        for one in made.values():
            one.close()
    seconds = {
        what: {name: median([run["seconds"] for run in runs[what][name]]) for name in made}
        for what in runs
    }
    table(
        ("look-up of", "seconds without", "with", "with : without"),
        [
            (what, found[WITHOUT], found[WITH], found[WITH] / found[WITHOUT])
            for what, found in seconds.items()
        ],
    )
    derived = {name: median([run["derived"] for run in runs["log"][name]]) for name in made}
    table(("keys derived without", "with"), [(derived[WITHOUT], derived[WITH])])
    save("server_pairs", machine, options, runs=runs, seconds=seconds, derived=derived)
    wrong = any(run["found"] != wanted[name] for name in made for run in runs["log"][name])
    sys.exit("a listed pair was missed, or another found" if wrong else 0)


if __name__ == "__main__":
    main()
