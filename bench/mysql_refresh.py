"""Reading and sealing a MISP's database: rate, time by stage, memory.

Starts a MariaDB of its own with MISP's tables and made-up attributes, and runs
`inkgate-rules refresh` with the hkdf profile for every kind: the first time (which
compiles the warninglists, too), from nothing, and without changes. Prints a table and
writes bench/results/mysql_refresh.json. The database is not counted.
"""

from __future__ import annotations

import random
import re
import shutil
import sys
import uuid
from collections.abc import Iterator
from itertools import islice

from harness.arguments import Arguments
from harness.machine import describe, save
from inkgate.rules.crypto.profiles import DEFAULT_PROFILES
from support.installation import BIN, Installation
from support.mariadb import PASSWORD, USER, MariaDb
from support.measured import Cost, measure

PER_EVENT = 100
BATCH = 5000
# The made-up indicators are all reserved names and addresses, which these lists would
# drop or mark. They are asked like all others.
RESERVED = ("rfc3849", "rfc5735", "rfc6761")
SETTINGS = """\
[rules]
publisher = "publisher"
installed = "rules"
token_file = "token"
public_key_file = "publisher.pub"
key_cache = "run/keys"
[rules.profiles]
{profiles}
[rules.warninglists]
{off}
[[rules.sources]]
type = "misp-mysql"
port = {port}
user = "{user}"
password_file = "mysql.password"
misp_user = "admin@misp.example"
"""
WORDS = ("account", "cdn", "cloud", "files", "login", "mail", "office", "secure", "static", "web")
# How often each type occurs, as in feeds of network indicators.
KINDS = (
    ("domain", 30),
    ("hostname", 14),
    ("url", 26),
    ("ip-dst", 8),
    ("ip-dst|port", 6),
    ("domain|ip", 2),
    ("sha256", 8),
    ("md5", 3),
    ("filename|sha256", 2),
    ("email-src", 1),
)


def values(kind: str, pick: random.Random, number: int) -> tuple[str, str]:
    """value1 and value2 of a made-up attribute."""
    name = f"{pick.choice(WORDS)}-{pick.getrandbits(40):x}.example"
    address4 = f"{pick.choice(('192.0.2', '198.51.100', '203.0.113'))}.{pick.randrange(256)}"
    digest = f"{pick.getrandbits(256):064x}"
    made = {
        "domain": (name, ""),
        "hostname": (f"{pick.choice(WORDS)}.{name}", ""),
        "url": (f"https://{name}/{pick.choice(WORDS)}/{digest[:12]}.php?id={number}", ""),
        "ip-dst": (f"2001:db8:{pick.getrandbits(16):x}::{pick.getrandbits(16):x}", ""),
        "ip-dst|port": (address4, str(pick.randrange(1024, 65536))),
        "domain|ip": (name, address4),
        "sha256": (digest, ""),
        "md5": (digest[:32], ""),
        "filename|sha256": (f"{pick.choice(WORDS)}-{number}.exe", digest),
        "email-src": (f"{digest[:8]}@{name}", ""),
    }
    return made[kind]


def attributes(count: int) -> Iterator[dict[str, object]]:
    pick = random.Random(20)
    names, weights = zip(*KINDS, strict=True)
    for number in range(count):
        kind = pick.choices(names, weights)[0]
        value1, value2 = values(kind, pick, number)
        event = number // PER_EVENT + 1
        in_object = number % 4 == 0
        yield {
            "uuid": str(uuid.UUID(int=pick.getrandbits(128), version=4)),
            "event_id": event,
            "object_id": event if in_object else 0,
            "object_relation": kind if in_object else None,
            "category": "Network activity",
            "type": kind,
            "value1": value1,
            "value2": value2,
            "timestamp": 1_767_225_600 + number,
            "comment": "seen in a sandbox" if number % 3 else "",
            "last_seen": (1_767_225_600 + number) * 1_000_000 if number % 5 == 0 else None,
        }


def fill(server: MariaDb, count: int) -> None:
    events = count // PER_EVENT + 1
    server.add("organisations", name="ORG", uuid=str(uuid.uuid4()))
    server.add("users", email="admin@misp.example")
    for name in ("tlp:green", "type:osint", "campaign:made-up"):
        server.add("tags", name=name)
    server.add_many(
        "events",
        (
            {"uuid": str(uuid.uuid4()), "published": 1, "info": f"Made-up campaign {number}"}
            for number in range(events)
        ),
    )
    server.add_many(
        "objects",
        (
            {"uuid": str(uuid.uuid4()), "name": "domain-ip", "event_id": number}
            for number in range(1, events + 1)
        ),
    )
    server.add_many(
        "event_tags", ({"event_id": n, "tag_id": 1 + n % 2} for n in range(1, events + 1))
    )
    rows = attributes(count)
    while batch := list(islice(rows, BATCH)):
        server.add_many("attributes", batch)
    server.add_many(
        "attribute_tags",
        (
            {"attribute_id": n, "event_id": n // PER_EVENT + 1, "tag_id": 3}
            for n in range(1, count + 1, 10)
        ),
    )


def refresh(installation: Installation) -> tuple[Cost, dict[str, str]]:
    cost = measure([BIN / "inkgate-rules", "--config", installation.config, "refresh"])
    if cost.status:
        sys.exit(cost.output)
    return cost, dict(re.findall(r"^ +([a-z][a-z ]*[a-z])  +(\S.*)$", cost.output, re.MULTILINE))


def forget(installation: Installation) -> None:
    """Leave keys and compiled warninglists, and nothing of what was sealed."""
    publisher = installation.places.publisher
    for name in ("sealed", "packs", "derived", "last-good", "sources"):
        shutil.rmtree(publisher / name, ignore_errors=True)
    for name in ("pack", "epoch.json"):
        (publisher / name).unlink(missing_ok=True)
    shutil.rmtree(installation.places.installed)


def measured(installation: Installation, name: str) -> dict[str, object]:
    cost, numbers = refresh(installation)
    read = int(numbers["read"])
    print(
        f"{name:24} {cost.seconds:7.2f} {cost.cpu_seconds:7.2f} {read / cost.seconds:9.0f} "
        f"{cost.tree_mib:8.0f} {cost.process_mib:8.0f} {cost.load:5.1f}  {numbers['rules']} rules; "
        + "; ".join(f"{stage} {numbers[stage]}" for stage in STAGES if stage in numbers),
        flush=True,
    )
    row = cost._asdict()
    del row["output"]
    return {"name": name, **row, "attributes_a_second": read / cost.seconds, "summary": numbers}


STAGES = ("reading", "sealing", "publishing", "installing")


def main() -> None:
    parser = Arguments(__doc__, attributes=2_000, runs=1)
    parser.add_argument("--attributes", type=int, default=200_000)
    parser.add_argument("--runs", type=int, default=3, help="from nothing")
    options = parser.read()
    machine = describe()
    server = MariaDb()
    installation = Installation(
        SETTINGS.format(
            profiles="\n".join(f'{kind} = "hkdf"' for kind in DEFAULT_PROFILES),
            off="\n".join(f'{name} = "off"' for name in RESERVED),
            port=server.port,
            user=USER,
        )
    )
    try:
        (installation.folder / "mysql.password").write_text(PASSWORD)
        fill(server, options.attributes)
        print(
            f"{'':24} {'wall s':>7} {'CPU s':>7} {'per sec':>9} {'tree MiB':>8} {'one MiB':>8} "
            f"{'load':>5}"
        )
        results = [measured(installation, "the very first time")]
        for _ in range(options.runs):
            forget(installation)
            results.append(measured(installation, "from nothing"))
        results.append(measured(installation, "nothing changed"))
    finally:
        installation.close()
        server.close()
    print(f"written: {save('mysql_refresh', machine, options, runs=results)}")


if __name__ == "__main__":
    main()
