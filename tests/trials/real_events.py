"""Seal real events, then ask for every indicator in them: by match, and through a real Squid.

    python tests/trials/real_events.py EVENTS [--benign LIST] [--warninglists on|off]

EVENTS is a folder of MISP event JSON files. The benign list (one name a line, may be
compressed) is asked for through the same Squid; none of it may be blocked. Names go
nowhere: one local server answers for all of them.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))

from inkgate.rules.sources.readers.list_file import read_list
from inkgate.rules.sources.readers.source_file import SourceFile
from support.everywhere import SquidForEverything
from support.installation import SETTINGS, Installation

# What tests/trials/run.py says, and is told.
EVENTS = "INKGATE_TRIAL_EVENTS"
LACKING = 77
PROFILES = 'profiles = { name = "test", ip = "test", url = "test", text = "test" }\n'
ASKED = ("url", "domain", "hostname", "domain|ip")


class Asked(NamedTuple):
    uuid: str
    type: str
    value: str


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("events", type=Path, nargs="?", default=os.environ.get(EVENTS))
    parser.add_argument("--benign", type=Path)
    parser.add_argument("--count", type=int, default=1000, help="benign names to ask for")
    parser.add_argument("--warninglists", choices=("on", "off"), default="off")
    options = parser.parse_args()
    if options.events is None:
        parser.exit(LACKING, "needs a folder of MISP events: make trials EVENTS=FOLDER\n")
    settings = SETTINGS.replace(PROFILES, "").replace(
        'sources = ["events"]', f"sources = [{json.dumps(str(options.events.resolve()))}]"
    )
    if options.warninglists == "on":
        settings = settings.replace('warninglists = { default = "off" }\n', "")
    installation = Installation(settings)
    try:
        sys.exit(try_all(installation, options.events, options.benign, options.count))
    finally:
        installation.close()


def try_all(installation: Installation, events: Path, benign: Path | None, count: int) -> int:
    done = installation.run("inkgate-rules", "refresh")
    print(done.stdout + done.stderr)
    asked = list(to_ids(events))
    left_out = reported(installation)
    sealed = [a for a in asked if left_out.get(a.uuid) not in ("refused", "dropped", "allowed")]
    found = matched(installation, sealed)
    missing = [a for a in sealed if a.uuid not in found]
    server = SquidForEverything(installation)
    try:
        urls = sorted({url for a in sealed if a.type in ASKED for url in [url_of(a)] if url})
        passed = [url for url, blocked in ask(server, urls) if not blocked]
        names = benign_names(benign, count) if benign else []
        wrong = [n for n, blocked in ask(server, [f"http://{n}/" for n in names]) if blocked]
    finally:
        server.close()
    print(f"to_ids attributes in readable files: {len(asked)}")
    print(f"refused, dropped or allowed, with a reason: {len(asked) - len(sealed)}")
    print(f"found by match, with their uuid: {len(sealed) - len(missing)} of {len(sealed)}")
    print(f"types: {dict(Counter(a.type for a in sealed).most_common())}")
    print(f"blocked through Squid: {len(urls) - len(passed)} of {len(urls)}")
    print(f"benign names blocked: {len(wrong)} of {len(names)}")
    for attribute in missing:
        print(f"not found: {attribute.type} {attribute.uuid}")
    for url in passed:
        print(f"not blocked: {url!r}")
    return 1 if missing or passed or wrong else 0


def to_ids(events: Path) -> Iterator[Asked]:
    """Read with nothing of ours, so that nothing of ours can leave something out."""
    for path in sorted(events.glob("*.json")):
        try:
            document = json.loads(path.read_bytes())
        except ValueError:
            print(f"not JSON: {path.name}")
            continue
        for item in document.get("response", [document]):
            event = item["Event"]
            groups = [event.get("Attribute", ())]
            groups += [o.get("Attribute", ()) for o in event.get("Object", ())]
            for attribute in (a for group in groups for a in group):
                if attribute["to_ids"] in (True, "1", 1):
                    yield Asked(attribute["uuid"], attribute["type"], attribute["value"])


def reported(installation: Installation) -> dict[str, str]:
    path = installation.places.publisher / "last-refresh.tsv"
    if not path.exists():
        return {}
    with path.open(encoding="utf-8", newline="") as file:
        return {row["place"]: row["outcome"] for row in csv.DictReader(file, dialect="excel-tab")}


def matched(installation: Installation, asked: list[Asked]) -> set[str]:
    found: set[str] = set()
    rest = iter(asked)
    while some := list(islice(rest, 200)):
        queries = [f"{a.type}={a.value}" for a in some]
        done = installation.run("inkgate-rules", "match", "--json", "--", *queries)
        if done.returncode > 1:
            print(done.stderr)
        for line in done.stdout.splitlines():
            found |= {a["uuid"] for a in json.loads(line)["message"]["attributes"]}
    return found


def url_of(attribute: Asked) -> str | None:
    if attribute.type == "url":
        value = attribute.value.strip()
        return value if "://" in value else f"http://{value}"
    return f"http://{attribute.value.partition('|')[0].strip()}/"


def benign_names(path: Path, count: int) -> list[str]:
    names = [a.value for a in read_list(SourceFile(path)) if "." in a.value]
    return names[: count // 2] + names[len(names) // 2 :: max(1, len(names) // count)][: count // 2]


def ask(server: SquidForEverything, urls: list[str]) -> Iterator[tuple[str, bool]]:
    def blocked(url: str) -> bool:
        reply = server.get(url.replace(" ", "%20"))
        if reply.status not in (200, 403):
            print(f"status {reply.status}: {url!r}")
        return reply.status == 403 and reply.incident is not None

    with ThreadPoolExecutor(8) as pool:
        yield from zip(urls, pool.map(blocked, urls), strict=True)


if __name__ == "__main__":
    main()
