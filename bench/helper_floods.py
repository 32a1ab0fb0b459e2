"""One client floods the helper: what another client, at another address, loses by it.

A victim (127.0.0.2) asks 100 times a second for hosts that are known, listed, and new, while
a flooder (127.0.0.9) keeps thousands of requests under way. `fail` is `closed`, so each
request of the victim that gets no verdict is counted: a listed one would pass, an unlisted
one would be refused. Floods: literal IPv4 addresses; literal IPv6 addresses under an event
with networks of every length; new names; a known name; User-Agents of 60 KB. Prints tables
and writes bench/results/helper_floods.json. Ends with 1 if the victim lost anything, waited
more than three times as long for a known host, or the helper took more memory than its bound.
"""

from __future__ import annotations

import argparse
import itertools
import random
import select
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from harness.arguments import Arguments
from harness.machine import describe, save, table
from harness.pipe import Command, Helper
from harness.rule_sets import listed_domain
from inkgate.config.settings_file import load_section
from inkgate.helper.memory_bound import memory_bound
from inkgate.helper.settings import HelperSettings
from inkgate.rules.canonical import Host
from support.installation import BIN, SETTINGS, Installation, attribute

VICTIM, FLOODER = "127.0.0.2", "127.0.0.9"
AGENT = "Mozilla/5.0%20(X11)"
FIRST_OF_VICTIM = 10**12
LISTED = 5_000
KNOWN = 50
FACTOR = 3.0
RANDOM = random.Random(2016)


class Result(NamedTuple):
    """What the victim got: latencies of known hosts in ms, and verdicts that it did not get."""

    known_p50: float
    known_p99: float
    known_max: float
    listed_lost: int
    listed_asked: int
    unlisted_lost: int
    unlisted_asked: int
    wrong: int
    flood_answers: int
    memory_mib: float


def line(number: int, url: str, client: str, agent: str = AGENT) -> bytes:
    return f"{number} GET {url} {client} - {agent} -\n".encode()


def random_v4() -> str:
    return ".".join(str(RANDOM.randrange(1, 255)) for _ in range(4))


def random_v6() -> str:
    groups = [0x2000 + RANDOM.randrange(0x1000), *(RANDOM.randrange(1 << 16) for _ in range(7))]
    return ":".join(f"{group:x}" for group in groups)


FLOODS: dict[str, Callable[[int], tuple[str, str]]] = {
    "calm": lambda _: ("", ""),
    "random IPv4": lambda _: (f"http://{random_v4()}/", AGENT),
    "random IPv6": lambda _: (f"http://[{random_v6()}]/", AGENT),
    "new names": lambda n: (f"http://n{n}-{RANDOM.getrandbits(40):x}.test/", AGENT),
    "known name": lambda n: (f"http://known0.example/{n}", AGENT),
    "huge headers": lambda n: (f"http://known1.example/{n}", f"{n}" + "x" * 60_000),
}
# A line of 60 KB takes long to read, for Squid as for the helper: few are under way at a time.
FEWER = {"huge headers": 4}


def installation() -> Installation:
    """Rules at the default profiles, networks of every length among them."""
    made = Installation(
        SETTINGS.replace(
            'profiles = { name = "test", ip = "test", url = "test", text = "test" }', ""
        ).replace('fail = "open"', 'fail = "closed"')
    )
    made.add("listed", *(attribute("domain", listed_domain(n)) for n in range(LISTED)))
    made.add("agents", attribute("user-agent", "EvilBot/1.0"))
    v4 = (attribute("ip-dst", f"198.51.{n}.0/{n}") for n in range(16, 33))
    v6 = (attribute("ip-dst", f"2001:db8:{n:x}00::/{n}") for n in range(20, 129))
    made.add("networks", *v4, *v6)
    made.refresh()
    return made


def known_hosts(made: Installation) -> list[str]:
    """Hosts of which the helper remembers that they are clean, whatever the URL."""
    matcher = made.matcher()
    names = (f"known{n}.example" for n in itertools.count())
    return list(
        itertools.islice((n for n in names if not matcher.host(Host("name", n)).needs_url), KNOWN)
    )


def victims_requests(known: list[str]) -> Iterator[tuple[str, str]]:
    """What the victim asks for: kind and URL, of kinds that come in turns."""
    number = 0
    while True:
        for _ in range(7):
            yield "known", f"http://{RANDOM.choice(known)}/page{number}"
        yield "listed", f"http://{listed_domain(0)}/{number}"
        yield "listed", f"http://{listed_domain(1 + number % (LISTED - 1))}/"
        yield "unlisted", f"http://fresh{number}-{RANDOM.getrandbits(40):x}.test/"
        number += 1


def own_memory(pid: int) -> int:
    """KiB that a process has for itself."""
    rows = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next((int(row.split()[1]) for row in rows if row.startswith("RssAnon")), 0)


class Course:
    """One flood: the victim's requests in time, the flooder's whenever there are fewer."""

    def __init__(self, helper: Helper, flood: str, under_way: int) -> None:
        self._helper = helper
        self._flood = FLOODS[flood]
        self._under_way = 0 if flood == "calm" else min(under_way, FEWER.get(flood, under_way))
        self._asked: dict[int, tuple[str, float]] = {}
        self._latencies: list[float] = []
        self._lost = {"listed": 0, "unlisted": 0, "known": 0}
        self._count = {"listed": 0, "unlisted": 0, "known": 0}
        self._wrong = self._waiting = self._sent = self._answers = 0
        self._rest = b""
        self._memory = 0

    def run(self, known: list[str], seconds: float, rate: float) -> Result:
        requests = victims_requests(known)
        end = time.perf_counter() + seconds
        next_at = time.perf_counter()
        number = FIRST_OF_VICTIM
        while (now := time.perf_counter()) < end or self._asked:
            if now >= next_at and now < end:
                kind, url = next(requests)
                self._asked[number] = (kind, next_at)
                self._helper.send(line(number, url, VICTIM))
                number += 1
                next_at += 1 / rate
            if now < end:
                self._top_up()
            self._read(max(0.0, min(0.001, next_at - now)))
            if now > end + 30:
                break
        self._sample_memory()
        for kind, _ in self._asked.values():
            self._lost[kind] += 1
        ordered = sorted(self._latencies)
        return Result(
            ordered[len(ordered) // 2],
            ordered[len(ordered) * 99 // 100],
            ordered[-1],
            self._lost["listed"],
            self._count["listed"],
            self._lost["unlisted"] + self._lost["known"],
            self._count["unlisted"] + self._count["known"],
            self._wrong,
            self._answers,
            self._memory / 1024,
        )

    def _top_up(self) -> None:
        missing = min(self._under_way - self._waiting, 32)
        if missing > 0:
            data = []
            for _ in range(missing):
                self._sent += 1
                url, agent = self._flood(self._sent)
                data.append(line(self._sent, url, FLOODER, agent))
            self._waiting += missing
            self._helper.send(b"".join(data))
            if not self._sent % 64:
                self._sample_memory()

    def _read(self, seconds: float) -> None:
        fd = self._helper.process.stdout
        assert fd
        if not select.select([fd], [], [], seconds)[0]:
            return
        now = time.perf_counter()
        data = self._rest + self._helper.read()
        *lines, self._rest = data.split(b"\n")
        for answer in lines:
            number, verdict, *_ = answer.split(b" ")
            if int(number) < FIRST_OF_VICTIM:
                self._waiting -= 1
                self._answers += 1
            else:
                self._note(*self._asked.pop(int(number)), verdict, now)

    def _note(self, kind: str, asked_at: float, verdict: bytes, now: float) -> None:
        self._count[kind] += 1
        if verdict == b"BH":
            self._lost[kind] += 1
        elif (verdict == b"OK") != (kind == "listed"):
            self._wrong += 1
        if kind == "known":
            self._latencies.append(1000 * (now - asked_at))

    def _sample_memory(self) -> None:
        self._memory = max(self._memory, own_memory(self._helper.process.pid))


def measure(command: Command, known: list[str], flood: str, options: argparse.Namespace) -> Result:
    """One flood on a helper of its own, to which the known hosts are known."""
    helper = Helper(command)
    first = [line(n, f"http://{host}/", VICTIM) for n, host in enumerate(known)]
    helper.exchange([*first, line(KNOWN, f"http://{listed_domain(0)}/", VICTIM)], KNOWN + 1)
    result = Course(helper, flood, options.under_way).run(known, options.seconds, options.rate)
    helper.process.kill()
    helper.process.wait()
    return result


def faults(results: dict[str, Result], bound_mib: float, factor: float) -> list[str]:
    """What the victim lost, in words."""
    found = []
    calm = results["calm"]
    for name, result in results.items():
        lost = result.listed_lost + result.unlisted_lost + result.wrong
        if lost:
            found.append(f"{name}: {lost} requests of the victim without the right verdict")
        if result.known_p99 > factor * calm.known_p99:
            found.append(f"{name}: a known host took {result.known_p99 / calm.known_p99:.1f} times")
        if result.memory_mib > bound_mib:
            found.append(f"{name}: {result.memory_mib:.0f} MiB, more than {bound_mib:.0f}")
    return found


def main() -> None:
    parser = Arguments(__doc__, seconds=3.0, under_way=400, rate=100.0)
    parser.add_argument("--seconds", type=float, default=20.0, help="of each flood")
    parser.add_argument("--under-way", type=int, default=4_000, help="requests of the flooder")
    parser.add_argument("--rate", type=float, default=100.0, help="victim's requests a second")
    parser.add_argument("--floods", nargs="+", choices=list(FLOODS), default=list(FLOODS))
    options = parser.read()
    machine = describe()
    made = installation()
    try:
        settings = load_section(made.config, "helper", HelperSettings)
        bound = memory_bound(settings) / (1 << 20)
        command: Command = [BIN / "inkgate-helper", "--config", made.config]
        known = known_hosts(made)
        results = {}
        for flood in dict.fromkeys(("calm", *options.floods)):
            # Each flood finds an empty key cache.
            for path in (made.folder / "run" / "keys").glob("*.mdb*"):
                path.unlink()
            results[flood] = measure(command, known, flood, options)
    finally:
        made.close()
    table(("flood", *Result._fields), [(name, *result) for name, result in results.items()])
    found = faults(results, bound, FACTOR)
    print(f"bound of the memory: {bound:.0f} MiB", *found, sep="\n")
    save(
        "helper_floods", machine, options, results={n: r._asdict() for n, r in results.items()},
        bound_mib=bound, faults=found,
    )  # fmt: skip
    # What a quick run shows of a busy machine's times means nothing.
    sys.exit(bool(found) and not options.quick)


if __name__ == "__main__":
    main()
