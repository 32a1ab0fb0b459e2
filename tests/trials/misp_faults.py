"""Matches to a MISP that fails in every way, by a reporter that is killed: each is told once.

    python tests/trials/misp_faults.py [--matches N] [--kills N] [--seed N] [--json FILE]

Processes write matches while `inkgate-sightings report --follow` is killed (-9) after random
numbers of requests. Meanwhile the MISP answers with 429, 500, time-outs, half answers and
disconnections, and its administrator changes it at random: maintenance in each form, limits of
searches, a server in front that takes small requests only, requests of many sightings that
never end, sightings that are not shown or not loaded, attributes that are deleted. Then the
same through a Redis that is stopped and killed, and (smaller) with a MISP that has
`add_sighting` only. At the end all is told once, nothing waits, and nothing is refused that
MISP would take. Last, how long a reporter takes with a MISP at 50 ms an answer.

Ends with 0 if so, with 1 if not, and with 77 without a redis-server.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from inkgate.sightings.journal.journal import Journal
from support.misp import Attribute, Event, Instance, Misp, MispServer
from support.redis_server import RedisServer
from support.reporting import (
    Killed,
    Reporting,
    Writers,
    counted,
    populated,
    rough,
    sighting,
    truth,
    wait_for_requests,
)

LACKING = 77
RESULT = Path(__file__).parents[2] / ".inkgate" / "misp_faults.json"
WRITERS = 4
SETTINGS = """first_wait = 0.01
longest_wait = 0.05
timeout = 0.4
attempts = 8
batch = 50
"""
OTHER = "OTHER"
# MISP takes nothing from these: its column is shorter, a plug-in finds it invalid, it fails.
REFUSED_NODES = ("n" * 300, "invalid", "failing")
_REFUSED_MATCHES = 5
_RUNS_IN_TROUBLE = 4
_LAST_RUNS = 100
_SECONDS_AN_ANSWER = 0.05

Found = dict[str, object]


class Administrator:
    """Changes a MISP at random until it is stopped, and then leaves it as it should be.

    Attributes:
        done: how often each change was made.
        deleted: UUIDs of the attributes of which MISP takes nothing any more: with
            `add_sighting` also those that are deleted softly.
    """

    def __init__(self, server: MispServer, seed: int, *, shows_all: bool) -> None:
        self.done: Counter[str] = Counter()
        self.deleted: set[str] = set()
        self._has_bulk = server.bulk_sightings
        self._server = server
        self._random = random.Random(seed)
        self._stop = threading.Event()
        self._changes: list[Callable[[Instance], str]] = [
            self._maintenance,
            self._limit,
            self._small_requests,
            self._slow_requests,
            self._delete,
        ]
        if not shows_all:
            self._changes += [self._policy, self._no_sightings]
        self._thread = threading.Thread(target=self._run)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        self._thread.start()
        try:
            yield
        finally:
            self._stop.set()
            self._thread.join()
            self._server.instance = usual()

    def _run(self) -> None:
        while not self._stop.is_set():
            instance = usual()
            for change in self._random.sample(self._changes, self._random.choice((0, 1, 1, 2))):
                self.done[change(instance)] += 1
            self._server.instance = instance
            self._stop.wait(self._random.uniform(0.1, 1.5))

    def _maintenance(self, instance: Instance) -> str:
        instance.is_live = False
        instance.maintenance_status = self._random.choice((302, 405, 503))
        return f"maintenance {instance.maintenance_status}"

    def _limit(self, instance: Instance) -> str:
        instance.searches_a_minute = self._random.randint(1, 5)
        return "limit of searches"

    def _small_requests(self, instance: Instance) -> str:
        instance.most_bytes = self._random.randint(1200, 6000)
        return "413"

    def _slow_requests(self, instance: Instance) -> str:
        instance.slow_sightings = self._random.randint(8, 40)
        return "too slow"

    def _policy(self, instance: Instance) -> str:
        instance.sightings_policy = self._random.choice((1, 2, 3))
        return f"policy {instance.sightings_policy}"

    def _no_sightings(self, instance: Instance) -> str:
        instance.loads_sightings = False
        return "sightings not loaded"

    def _delete(self, _: Instance) -> str:
        misp = self._server.misp
        with misp.lock:
            attribute = self._random.choice(list(misp.attributes.values()))
            is_hard = self._random.random() < 0.5
            if is_hard or not self._has_bulk:
                self.deleted.add(attribute.uuid)
            misp.delete(attribute, hard=is_hard)
        return "hard deletion" if is_hard else "soft deletion"


def usual() -> Instance:
    return Instance(invalid_sources={REFUSED_NODES[1]}, failing_sources={REFUSED_NODES[2]})


def made(options: argparse.Namespace) -> tuple[Misp, Event, list[Attribute]]:
    """A MISP; an event of it that is to go before anything is told; what is not shown."""
    misp = populated(options.events, options.attributes)
    values = [("domain", f"d{n}.other.example") for n in range(options.attributes)]
    theirs = misp.add_event("of others", values, org=OTHER)
    gone = misp.add_event("gone", values[:20], org=OTHER)
    hidden = misp.attributes_of(theirs)[:10]
    for attribute in hidden:
        misp.edit(attribute, distribution=0)
    return misp, gone, hidden


def by_file(options: argparse.Namespace, *, bulk: bool = True) -> Found:
    """The journal is a file."""
    misp, gone, hidden = made(options)
    with (
        MispServer(misp, rough(options.seed), instance=usual(), bulk_sightings=bulk) as server,
        Reporting(server, misp=SETTINGS) as reporting,
    ):
        path = reporting.journal.path
        nodes = [f"proxy{n}" for n in range(WRITERS)]
        writers = Writers(misp, reporting.folder, [(path, n) for n in nodes], options.matches // 4)
        # What `bulkSaveSightings` finds invalid `add_sighting` takes.
        refused = [n for n in REFUSED_NODES if bulk or n != "invalid"]
        bad = Writers(misp, reporting.folder, [(path, n) for n in refused], _REFUSED_MATCHES)
        administrator = Administrator(server, options.seed, shows_all=not bulk)
        lost = vanished(misp, gone, hidden)
        started = time.monotonic()
        with administrator.at_work():
            killed = killer(reporting, server, options)
            killed.wait()
            writers.wait()
            bad.wait()
            report_some(reporting)
        return ended(server, reporting, path, [path], administrator, lost, killed, started)


def by_redis(options: argparse.Namespace) -> Found:
    """The journal is a Redis; every writer is a proxy with its own file and drain."""
    chance = random.Random(options.seed)
    misp, gone, hidden = made(options)
    with (
        RedisServer() as redis,
        MispServer(misp, rough(options.seed), instance=usual()) as server,
        Reporting(
            server,
            sightings=f'journal = "{redis.url}"',
            misp=SETTINGS,
            more="[sightings.redis]\nclaim_seconds = 1.0\ntimeout = 2.0",
        ) as reporting,
    ):
        nodes = [*(f"proxy{n}" for n in range(WRITERS)), *REFUSED_NODES]
        spools = [(reporting.folder / f"spool{n}.db", node) for n, node in enumerate(nodes)]
        writers = Writers(misp, reporting.folder, spools[:WRITERS], options.matches // WRITERS)
        bad = Writers(misp, reporting.folder, spools[WRITERS:], _REFUSED_MATCHES)
        administrator = Administrator(server, options.seed, shows_all=False)
        lost = vanished(misp, gone, hidden)
        started = time.monotonic()
        commands = [drain_command(reporting, n) for n in range(len(nodes))]
        drains = [
            subprocess.Popen([*command, "--follow"], stderr=subprocess.DEVNULL)
            for command in commands
        ]
        with administrator.at_work():
            killed = killer(reporting, server, options)
            for n in range(options.stops):
                wait_for_requests(server, chance.randint(1, options.requests))
                (redis.kill if n % 2 else redis.stop)()
                redis.stand_in(chance.randint(1, 10))
                redis.start()
            killed.wait()
            writers.wait()
            bad.wait()
            report_some(reporting)
        for drain in drains:
            drain.terminate()
            drain.wait(60)

        for command in commands:
            subprocess.run(command, check=True, capture_output=True)

        def hand_over() -> None:
            subprocess.run(commands[0], check=True, capture_output=True)

        sources = [path for path, _ in spools]
        collected = reporting.folder / "collected.db"
        return ended(
            server, reporting, collected, sources, administrator, lost, killed, started, hand_over
        )


def vanished(misp: Misp, gone: Event, hidden: list[Attribute]) -> set[str]:
    """Delete what is to go; the attributes of which MISP will take nothing."""
    lost = {a.uuid for a in (*misp.attributes_of(gone), *hidden)}
    misp.delete_event(gone)
    return lost


def killer(reporting: Reporting, server: MispServer, options: argparse.Namespace) -> Killed:
    command = reporting.command("report", "--follow")
    return Killed(command, server, options.kills, options.seed, options.requests)


def drain_command(reporting: Reporting, n: int) -> list[str | Path]:
    """`drain` with the settings of proxy n."""
    config = reporting.config.with_name(f"proxy{n}.toml")
    text = reporting.config.read_text()
    config.write_text(text.replace('spool = "sightings.db"', f'spool = "spool{n}.db"'))
    return [*reporting.command()[:1], "--config", config, "drain"]


def report_some(reporting: Reporting) -> None:
    """A few more runs while everything still goes wrong."""
    for _ in range(_RUNS_IN_TROUBLE):
        subprocess.run(reporting.command("report"), check=False, capture_output=True)


def ended(
    server: MispServer,
    reporting: Reporting,
    journal: Path,
    sources: list[Path],
    administrator: Administrator,
    lost: set[str],
    killed: Killed,
    started: float,
    hand_over: Callable[[], object] = lambda: None,
) -> Found:
    """Report what is left, with the faults of the network still there, and compare.

    New matches still come: what MISP fails at is refused only while it takes others.
    """
    runs = 0
    status: dict[str, int] = {"waiting": 1}
    while (status["waiting"] or not runs) and runs < _LAST_RUNS:
        add_match(server.misp, sources[0], runs)
        hand_over()
        subprocess.run(reporting.command("report"), check=False, capture_output=True)
        (status,) = reporting.json("status")
        runs += 1
    lost = lost | administrator.deleted
    told = reporting.told()
    wanted = [t for t in truth(sources) if is_taken(t[0], t[1], lost)]
    refused = reporting.json("refused")
    wrongly = [i["reason"] for i in refused if is_taken(i["attribute"], i["node"], lost)]
    requests = Counter(path.rpartition("/")[0] or path for path, _ in server.requests)
    return {
        "matches": counted(journal),
        "wanted": len(wanted),
        "told": len(told),
        "lost": len(set(wanted) - set(told)),
        "doubled": len(told) - len(set(told)),
        "not true": len(set(told) - set(wanted) - {t for t in told if t[0] in lost}),
        "waiting": status["waiting"],
        "refused": len(refused),
        "refused wrongly": wrongly,
        "kills": killed.kills,
        "last runs": runs,
        "requests": sum(requests.values()),
        "faults": dict(sorted(Counter(server.faults.made).items())),
        "changes": dict(sorted(administrator.done.items())),
        "seconds": round(time.monotonic() - started),
    }


def add_match(misp: Misp, journal: Path, number: int) -> None:
    """One more match, of a new event."""
    event = misp.add_event("late", [("domain", f"late{number}.example")])
    (attribute,) = misp.attributes_of(event)
    with closing(Journal(journal, busy_timeout=60)) as writer:
        writer.append([sighting([attribute.uuid], events=(str(event.id),))])


def is_taken(attribute: str, node: str, lost: set[str]) -> bool:
    """Whether a MISP without faults takes a sighting."""
    return attribute not in lost and node not in REFUSED_NODES


def drained(options: argparse.Namespace) -> Found:
    """How long a reporter takes, with nothing going wrong and 50 ms an answer."""
    misp = populated(options.events, options.attributes)
    instance = Instance(answer_seconds=_SECONDS_AN_ANSWER)
    # With the batch and the times that it has without settings.
    with MispServer(misp, instance=instance) as server, Reporting(server, misp="") as reporting:
        path = reporting.journal.path
        nodes = [(path, f"proxy{n}") for n in range(WRITERS)]
        Writers(misp, reporting.folder, nodes, options.matches // WRITERS).wait()
        started = time.monotonic()
        subprocess.run(reporting.command("report"), check=True, capture_output=True)
        seconds = time.monotonic() - started
        told, wanted = reporting.told(), truth([path])
        return {
            "matches": counted(path),
            "wanted": len(wanted),
            "told": len(told),
            "lost": len(set(wanted) - set(told)),
            "doubled": len(told) - len(set(told)),
            "requests": len(server.requests),
            "seconds": round(seconds, 1),
            "sightings/s": round(len(told) / seconds),
        }


def is_good(found: Found) -> bool:
    bad = ("lost", "doubled", "not true", "waiting", "refused wrongly")
    return not any(found.get(name) for name in bad)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--matches", type=int, default=100_000)
    parser.add_argument("--kills", type=int, default=20, help="of reporters")
    parser.add_argument("--requests", type=int, default=15, help="at most, between two kills")
    parser.add_argument("--events", type=int, default=50)
    parser.add_argument("--attributes", type=int, default=40, help="of each event")
    parser.add_argument("--stops", type=int, default=6, help="of Redis")
    parser.add_argument("--only", choices=("file", "redis", "add", "drain"))
    parser.add_argument("--json", type=Path, default=RESULT)
    options = parser.parse_args()
    if not shutil.which("redis-server"):
        print("redis-server is not installed")
        sys.exit(LACKING)
    small = argparse.Namespace(**{**vars(options), "matches": max(400, options.matches // 100)})
    trials: dict[str, Callable[[], Found]] = {
        "file": lambda: by_file(options),
        "redis": lambda: by_redis(options),
        "add": lambda: by_file(small, bulk=False),
        "drain": lambda: drained(options),
    }
    results: dict[str, Found] = {}
    for name, trial in trials.items():
        if options.only in (None, name):
            results[name] = trial()
            print(f"{name}:", flush=True)
            for label, value in results[name].items():
                print(f"  {label:>16}  {value}", flush=True)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps({"seed": options.seed, **results}, indent=2) + "\n")
    sys.exit(0 if all(map(is_good, results.values())) else 1)


if __name__ == "__main__":
    main()
