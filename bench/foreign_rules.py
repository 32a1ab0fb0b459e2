"""Every value that went into foreign rule sets is found, and no other.

    bench/foreign_rules.py --thesis FOLDER --paper FOLDER [--others 10000]

The thesis's folder holds rule sets, NAME, and what went in, NAME.clear.tsv (type,
value, attribute UUID), sealed with the token given. The paper's holds *.rule; what
went in is given with --paper-value. For the pbkdf2 set it also checks our writer:
what it would seal must open the rules that the thesis's code made, and a set that
it wrote from the same values must be found entirely. Without either folder both are
made up, from the formats' descriptions. Prints a table and writes
bench/results/foreign_rules.json. Ends with status 1 if anything is missed or wrong.
"""

from __future__ import annotations

import argparse
import collections
import math
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from harness.arguments import Arguments
from harness.machine import describe, save
from inkgate.config.processes import usable_cores
from inkgate.rules.crypto.profiles import Caps
from inkgate.rules.foreign.batch import run_plan
from inkgate.rules.foreign.observations import observation
from inkgate.rules.foreign.opening import open_foreign
from inkgate.rules.foreign.plan import (
    ForeignMatch,
    Observation,
    make_plan,
    statement,
    try_password,
)
from inkgate.rules.foreign.rule import ForeignRules
from inkgate.rules.foreign.thesis_values import thesis_values
from inkgate.rules.foreign.thesis_writer import Pbkdf2Cost, ThesisWriter
from inkgate.rules.sources.attribute import Attribute
from support.foreign_rules import METADATA, paper_rule, thesis_folder
from support.foreign_rules import TOKEN as THEIR_TOKEN

TOKEN = "0123456789abcdef0123456789abcdef01234567"
PAPER = (
    "ip-dst|dst-port=198.51.100.43|80",
    "url=http://malware.example/gate.php",
    "domain=c2.example.net",
)
HEX = {"md5": 32, "sha1": 40, "sha256": 64}

Clear = tuple[str, str, str]
Row = dict[str, Any]


def other(kind: str, number: int) -> str:
    """A value of a type that no set holds: reserved names, and digests of no file."""
    one = {
        "domain": f"other{number}.example",
        "hostname": f"other{number}.example",
        "url": f"http://other{number}.example/{number}",
        "ip-dst": f"198.{18 + number // 65536}.{number // 256 % 256}.{number % 256}",
        "ip": f"198.18.{number // 256 % 256}.{number % 256}",
        "filename": f"other{number}.bin",
        "dst-port": str(1024 + number % 60_000),
    }
    return one.get(kind) or f"{number:0{HEX.get(kind, 32)}x}"


def others(kinds: Sequence[str], count: int) -> Iterator[Observation]:
    """So many values, the types in the proportions in which they are given."""
    for number in range(count):
        kind = kinds[number * len(kinds) // count]
        value = "|".join(other(part, number) for part in kind.split("|"))
        yield observation(f"{kind}={value}", "=")


def run(rules: ForeignRules, seen: list[Observation], jobs: int) -> tuple[list[ForeignMatch], Row]:
    started = time.perf_counter()
    plan = make_plan(rules, seen)
    for line in statement(plan, jobs):
        print(f"  {line}", file=sys.stderr)
    matches = list(run_plan(plan, jobs, lambda _: None))
    seconds = time.perf_counter() - started
    return matches, {
        "derivations": plan.derivations,
        "estimated_s": round(plan.seconds / jobs, 2),
        "measured_s": round(seconds, 2),
    }


def trial(name: str, rules: ForeignRules, clear: Sequence[Clear], count: int, jobs: int) -> Row:
    seen = [observation(f"{kind}={value}", "=") for kind, value, _ in clear]
    matches, cost = run(rules, seen, jobs)
    told = collections.defaultdict(list)
    for match in matches:
        told[match.query].append(match.message)
    missed = [
        query.query
        for query, (_, _, uuid) in zip(seen, clear, strict=True)
        if not any(m.startswith(uuid) for m in told[query.query])
    ]
    wrong, other_cost = run(rules, list(others([kind for kind, _, _ in clear], count)), jobs)
    row: Row = {
        "set": name,
        "rules": len(rules.rules),
        "clear": len(clear),
        "found": len(clear) - len(missed),
        "others": count,
        "others_found": len({m.query for m in wrong}),
        "clear_cost": cost,
        "others_cost": other_cost,
    }
    if rules.filter is not None:
        row["filter"] = filter_rate(rules, clear, count)
    return row


def filter_rate(rules: ForeignRules, clear: Sequence[Clear], count: int) -> Row:
    """How many others pass the filter alone, and the 95 % interval of that rate."""
    assert rules.filter is not None
    bloom = rules.filter.bloom
    passed = 0
    for seen in others([kind for kind, _, _ in clear], count):
        passed += "||".join(seen.values.values()).encode() in rules.filter
    rate, z = passed / count, 1.96
    middle = (rate + z * z / 2 / count) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(rate * (1 - rate) / count + (z / 2 / count) ** 2)
    return {
        "configured": bloom.error_rate,
        "by_its_fill": round(bloom.fill() ** bloom.slices, 5),
        "measured": rate,
        "interval_95": [round(middle - half, 5), round(middle + half, 5)],
    }


def writer_row(rules: ForeignRules, clear: Sequence[Clear], jobs: int) -> Row:
    """What we would seal, tried on the thesis's rules; and a set written by us, read back."""
    attributes = [
        Attribute(type=kind, value=value, uuid=uuid, event_id="1", date="2026-01-01")
        for kind, value, uuid in clear
    ]
    agreed = 0
    for attribute in attributes:
        spellings = thesis_values(attribute)
        names = tuple(spellings[0])
        passwords = ["||".join(values.values()).encode() for values in spellings]
        agreed += any(
            (try_password(rule, password) or "").startswith(attribute.uuid)
            for rule in rules.rules
            if rule.attributes == names
            for password in passwords
        )
    with tempfile.TemporaryDirectory() as folder:
        where = Path(folder) / "set"
        writer = ThesisWriter(where, TOKEN.encode(), Pbkdf2Cost("sha256", 10, 20), ("uuid", "date"))
        for attribute in attributes:
            writer.add(attribute)
        writer.finish()
        back = open_foreign(where, TOKEN.encode, Caps())
        seen = [observation(f"{kind}={value}", "=") for kind, value, _ in clear]
        matches, _ = run(back, seen, jobs)
    found = {(m.query, m.message.partition(",")[0]) for m in matches}
    return {
        "clear": len(clear),
        "opens_the_thesis_rules": agreed,
        "written": writer.written.total(),
        "read_back": sum((f"{kind}={value}", uuid) in found for kind, value, uuid in clear),
    }


def read_clear(path: Path) -> list[Clear]:
    rows = (line.split("\t") for line in path.read_text().splitlines())
    return [(kind, value, uuid) for kind, value, uuid in rows]


def listed(kind: str, number: int) -> str:
    """A value that no `other` is."""
    names = {"domain": f"listed{number}.example", "filename": f"listed{number}.bin"}
    return names.get(kind) or f"{number + 2**100:032x}"


def make_up(folder: Path, count: int) -> None:
    """Sets of all of the thesis's modules, and the paper's, with so many values of each type."""
    clear = [
        (kind, "|".join(listed(part, n) for part in kind.split("|")), f"uuid-{kind}-{n}")
        for kind in ("domain", "md5", "filename|md5")
        for n in range(count)
    ]
    entries = [
        (kind.replace("|", "||"), value.replace("|", "||"), f"{uuid},7,20260101")
        for kind, value, uuid in clear
    ]
    text = "".join("\t".join(row) + "\n" for row in clear)
    for name in METADATA:
        thesis_folder(folder / name, name, entries)
        (folder / f"{name}.clear.tsv").write_text(text)
    paper = folder / "paper"
    paper.mkdir()
    for number, value in enumerate(PAPER):
        types, _, values = value.partition("=")
        joined = (text.replace("|", ",") for text in (types, values))
        paper_rule(paper / f"{number}.rule", "pbkdf2", *joined, "made up")


def main() -> None:
    options = arguments()
    machine = describe()
    if options.thesis or options.paper:
        rows, writer = tried(options)
    else:
        with tempfile.TemporaryDirectory() as name:
            made = Path(name)
            make_up(made, options.values)
            here = {"thesis": made, "paper": made / "paper", "token": THEIR_TOKEN}
            rows, writer = tried(argparse.Namespace(**{**vars(options), **here}))
    report(rows, writer)
    save("foreign_rules", machine, options, sets=rows, writer=writer)
    wrong = [r for r in rows if r["found"] < r["clear"] or (r["rules"] and r["others_found"])]
    sys.exit(1 if wrong or any(n != writer["clear"] for n in writer.values()) else 0)


def tried(options: argparse.Namespace) -> tuple[list[Row], Row]:
    rows: list[Row] = []
    writer: Row = {}
    for metadata in sorted(options.thesis.glob("*/metadata")) if options.thesis else ():
        folder = metadata.parent
        clear = read_clear(options.thesis / f"{folder.name}.clear.tsv")
        rules = open_foreign(folder, options.token.encode, Caps())
        if options.only and folder.name not in options.only:
            continue
        if not rules.rules:
            # A Bloom filter has no messages: that it says yes is all there is to find.
            clear = [(kind, value, "") for kind, value, _ in clear]
        count = options.bcrypt_others if folder.name == "bcrypt" else options.others
        rows.append(trial(folder.name, rules, clear, count, options.jobs))
        if folder.name == "pbkdf2":
            writer = writer_row(rules, clear, options.jobs)
    if options.paper:
        paper = [(*v.split("=", 1), "") for v in options.paper_value or PAPER]
        rules = open_foreign(options.paper, bytes, Caps())
        rows.append(trial("paper", rules, paper, options.others, options.jobs))
    return rows, writer


def arguments() -> argparse.Namespace:
    parser = Arguments(__doc__, values=2, others=200, bcrypt_others=10)
    parser.add_argument("--thesis", type=Path)
    parser.add_argument("--paper", type=Path)
    parser.add_argument("--paper-value", action="append", help="TYPE=VALUE that went in")
    parser.add_argument("--only", action="append", help="these thesis sets only")
    parser.add_argument("--token", default=TOKEN)
    parser.add_argument("--others", type=int, default=10_000)
    parser.add_argument("--bcrypt-others", type=int, default=10_000, help="it is that slow")
    parser.add_argument("--values", type=int, default=20, help="of each type, in what is made up")
    parser.add_argument("--jobs", type=int, default=usable_cores())
    return parser.read()


def report(rows: list[Row], writer: Row) -> None:
    print(f"{'set':>14}{'rules':>7}{'found':>11}{'others found':>16}{'s':>9}{'estimated':>11}")
    for row in rows:
        cost = row["others_cost"]
        print(
            f"{row['set']:>14}{row['rules']:>7}{row['found']:>6} /{row['clear']:>3}"
            f"{row['others_found']:>7} /{row['others']:>7}"
            f"{cost['measured_s']:>9,.1f}{cost['estimated_s']:>11,.1f}"
        )
    for row in rows:
        if "filter" in row:
            print(f"{row['set']} filter: {row['filter']}")
    if writer:
        print(f"writer: {writer}")


if __name__ == "__main__":
    main()
