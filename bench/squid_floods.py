"""One client floods a proxy: what another client, at another address, loses by it.

Through a real Squid, with the helper or over ICAP. A victim (127.0.0.2) asks 50 times a second
for hosts that are known, listed and new, first calm and then during a flood of 127.0.0.9, each
with a proxy of its own: 4,000 connections that ask for random literal addresses of IPv4, or of
IPv6 under an event with networks of every length, for new names, or for a known name; 64 that
send 100,000 User-Agents of 60 KB; 1,500 downloads that nobody reads on (ICAP); and 1,500
connections straight to the ICAP server, of an allowed peer that sends half a head each, and of
a user who may not ask.

The same floods meet a bare Squid, and with --against an older inkgate. `fail` is `closed`. Lost
is a listed request that is not blocked with an incident, and an unlisted one that is not
answered by the server. Ends with 1 if the victim lost anything, or if a known host took more
than three times as long as in the calm; what it took behind the bare Squid is said beside it.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import itertools
import random
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import psutil

from harness import flooder
from harness.arguments import Arguments
from harness.machine import describe, save, table
from harness.proxies import NEW_NAMES, Origin, Proxy
from harness.rule_sets import listed_domain
from helper_floods import installation, own_memory
from inkgate.blocked_page.settings import SquidSettings
from inkgate.config.settings_file import load_section
from inkgate.helper.memory_bound import memory_bound
from inkgate.helper.settings import HelperSettings
from inkgate.rules.canonical import Host
from inkgate.squid_conf.check import SQUID_USER
from inkgate.squid_conf.fragment import fragment
from inkgate.squid_conf.launching import Launching, place_launcher
from support.installation import Installation
from support.squid import free_port

VICTIM, FLOODER = "127.0.0.2", "127.0.0.9"
FACTOR = 3.0
KNOWN = 40
LISTED = 200
OURS, THEIRS, BARE = "this", "against", "bare"
_FILES = 20_000
_SECONDS_FOR_ANSWER = 30
_OF_VICTIM = 100_000
_RANDOM = random.Random(7)


class Kind(NamedTuple):
    """A flood.

    Attributes:
        connections: the option that says how many.
        rate: the option that says how many requests a second.
        ways: in which it can be done.
        at_icap: it goes straight to the ICAP server.
    """

    connections: str
    rate: str = "flood_rate"
    ways: tuple[str, ...] = ("helper", "icap")
    at_icap: bool = False


FLOODS = {
    "random IPv4": Kind("connections"),
    "random IPv6": Kind("connections"),
    "new names": Kind("connections"),
    "known name": Kind("connections"),
    "huge headers": Kind("with_headers", "header_rate"),
    "held downloads": Kind("held", "held_rate", ways=("icap",)),
    "half heads": Kind("held", ways=("icap",), at_icap=True),
    "strangers": Kind("held", ways=("icap",), at_icap=True),
}


class Seen(NamedTuple):
    """What the victim got: milliseconds of known hosts, and answers that it did not get."""

    p50: float
    p99: float
    listed_lost: int
    listed: int
    unlisted_lost: int
    unlisted: int


class Course(NamedTuple):
    """A flood, and the calm before it.

    Attributes:
        answers: that the flooder got.
        memory_mib: that the helpers, or the ICAP workers, had for themselves at most.
    """

    calm: Seen
    flood: Seen
    answers: int
    memory_mib: float

    @property
    def ratio(self) -> float:
        return self.flood.p99 / self.calm.p99


class Way:
    """How a Squid asks an inkgate; `close` ends what was started for it."""

    def __init__(self, way: str, binaries: Path, made: Installation) -> None:
        self._icap: subprocess.Popen[bytes] | None = None
        self.port = 0
        # Each flood finds an empty key cache.
        shutil.rmtree(made.folder / "run")
        (made.folder / "run").mkdir()
        shutil.chown(made.folder / "run", SQUID_USER, SQUID_USER)
        if way == "helper":
            self.lines = self._helper_lines(made, binaries)
        else:
            self.lines = self._icap_lines(made, binaries)

    def _helper_lines(self, made: Installation, binaries: Path) -> str:
        made.run("inkgate-squid-conf", "pages")
        launcher = made.folder / "launcher"
        place_launcher(launcher, "closed")
        return fragment(
            SquidSettings(children=1, ttl=1, negative_ttl=1),
            launching=Launching(launcher, binaries / "inkgate-helper", made.config),
            pages=made.folder / "pages",
            log="",
        )

    def _icap_lines(self, made: Installation, binaries: Path) -> str:
        self.port = free_port()
        config = made.folder / "icap.toml"
        lines = f'\n[icap]\nfail = "closed"\nlisten = "127.0.0.1:{self.port}"\n'
        config.write_text(made.config.read_text() + lines)
        command = [binaries / "inkgate-icap", "--config", config]
        self._icap = subprocess.Popen(
            command, user=SQUID_USER, group=SQUID_USER, stderr=subprocess.DEVNULL
        )
        _wait_for(self.port)
        printed = subprocess.run(
            [binaries / "inkgate-squid-conf", "--config", config, "--icap"],
            check=True,
            capture_output=True,
            text=True,
        )
        return printed.stdout

    def processes(self, squid: subprocess.Popen[bytes]) -> list[int]:
        """What takes memory for verdicts."""
        parent = psutil.Process((self._icap or squid).pid)
        return [child.pid for child in parent.children(recursive=True)]

    def close(self) -> None:
        if self._icap is not None:
            self._icap.terminate()
            self._icap.wait()


def _wait_for(port: int) -> None:
    end = time.monotonic() + 30
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)
        else:
            return


def ask(port: int, host: str, path: str) -> tuple[int, bytes]:
    """The status that the victim gets, 0 for none, and the page."""
    try:
        with socket.create_connection(
            ("127.0.0.1", port), _SECONDS_FOR_ANSWER, (VICTIM, 0)
        ) as client:
            lines = (f"GET http://{host}{path} HTTP/1.1", f"Host: {host}", "Connection: close")
            client.sendall("\r\n".join([*lines, "", ""]).encode())
            data = b"".join(iter(lambda: client.recv(1 << 16), b""))
        return int(data.split(b" ", 2)[1]), data
    except (OSError, ValueError, IndexError):
        return 0, b""


def requests_of_victim(known: list[str], first: int) -> Iterator[tuple[str, str]]:
    """What the victim asks for: kind and host, of kinds that come in turns."""
    for number in itertools.count(first):
        for _ in range(7):
            yield "known", _RANDOM.choice(known)
        yield "listed", listed_domain(0)
        yield "listed", listed_domain(1 + number % (LISTED - 1))
        yield "unlisted", f"new{number}.example"


class Victim:
    """Asks at fixed times, whatever became of the requests before.

    Args:
        port: Squid's.
        known: hosts that are known to be clean.
        is_bare: nothing is blocked.
    """

    def __init__(self, port: int, known: list[str], *, is_bare: bool) -> None:
        self._port = port
        self._known = known
        self._is_bare = is_bare
        self._first = NEW_NAMES - _OF_VICTIM // 2
        self._threads = concurrent.futures.ThreadPoolExecutor(200)

    def warm_up(self) -> None:
        """Make the known hosts known."""
        for host in [*self._known, "host1.example", listed_domain(0)]:
            for _ in range(4):
                ask(self._port, host, "/")

    def look(self, seconds: float, rate: float, goes_on: Callable[[], bool]) -> Seen:
        """Be the victim for so long, and as long as a flood has to go on."""
        asked = []
        next_at = time.perf_counter()
        end = next_at + seconds
        for kind, host in requests_of_victim(self._known, self._first):
            if next_at > end and not goes_on():
                break
            time.sleep(max(0.0, next_at - time.perf_counter()))
            asked.append((kind, self._threads.submit(self._ask, host, next_at)))
            self._first += kind == "unlisted"
            next_at += 1 / rate
        return self._seen([(kind, *answer.result()) for kind, answer in asked])

    def _ask(self, host: str, asked_at: float) -> tuple[int, bytes, float]:
        status, page = ask(self._port, host, f"/{_RANDOM.getrandbits(30):x}")
        return status, page, 1000 * (time.perf_counter() - asked_at)

    def _seen(self, answers: list[tuple[str, int, bytes, float]]) -> Seen:
        times = sorted(took for kind, _, _, took in answers if kind == "known")
        listed = [status == 403 and b"IG-" in page for kind, status, page, _ in answers
                  if kind == "listed"]  # fmt: skip
        others = [status == 200 for kind, status, _, _ in answers if kind != "listed"]
        return Seen(
            times[len(times) // 2],
            times[len(times) * 99 // 100],
            0 if self._is_bare else listed.count(False),
            len(listed),
            others.count(False),
            len(others),
        )


def measure(
    made: Installation, known: list[str], name: str, flood: str, options: argparse.Namespace
) -> Course:
    """The calm, then the flood, on a proxy of their own."""
    binaries = (options.against if name == THEIRS else Path(sys.prefix)).resolve() / "bin"
    way = None if name == BARE else Way(options.through, binaries, made)
    origin = Origin()
    lines = f"max_filedescriptors {_FILES}\n" + (way.lines if way else "")
    proxy = Proxy(name, lines, origin, is_for_all=True)
    victim = Victim(proxy.port, known, is_bare=way is None)
    try:
        victim.warm_up()
        calm = victim.look(options.seconds, options.rate, lambda: False)
        if calm.listed_lost == calm.listed or calm.unlisted_lost == calm.unlisted:
            raise SystemExit(f"{name}: the proxy does not work without a flood either")
        return _flooded(proxy, way, victim, calm, flood, options)
    finally:
        proxy.close()
        if way:
            way.close()
        origin.close()


def _flooded(
    proxy: Proxy,
    way: Way | None,
    victim: Victim,
    calm: Seen,
    flood: str,
    options: argparse.Namespace,
) -> Course:
    kind = FLOODS[flood]
    counted = options.headers if flood == "huge headers" else 0
    words = argparse.Namespace(
        kind=flood,
        port=way.port if way and kind.at_icap else proxy.port,
        address=FLOODER,
        connections=getattr(options, kind.connections),
        rate=getattr(options, kind.rate),
        requests=counted,
    )
    process = subprocess.Popen(
        [sys.executable, flooder.__file__, *flooder.words(words)], stdout=subprocess.PIPE
    )
    memory = 0

    def goes_on() -> bool:
        nonlocal memory
        if way:
            memory = max(memory, sum(map(own_memory, way.processes(proxy.process))))
        return bool(counted) and process.poll() is None

    # What is held is measured when it is held: the way there is 1.5 GB through ICAP.
    time.sleep(words.connections / words.rate if flood in flooder.HOLDING else 1)
    seen = victim.look(options.seconds, options.rate, goes_on)
    goes_on()
    process.terminate()
    said, _ = process.communicate()
    return Course(calm, seen, int(said or 0), memory / 1024)


def faults(results: dict[str, dict[str, Course]], bound_mib: float | None) -> list[str]:
    """What the victim lost by this inkgate, in words."""
    found = []
    for flood, courses in results.items():
        course, bare = courses[OURS], courses.get(BARE)
        lost = course.flood.listed_lost + course.flood.unlisted_lost
        if lost:
            found.append(f"{flood}: {lost} requests of the victim without the right answer")
        if course.ratio > FACTOR:
            beside = f", behind a bare Squid {bare.ratio:.1f}" if bare else ""
            found.append(f"{flood}: a known host took {course.ratio:.1f} times as long{beside}")
        if bound_mib and course.memory_mib > bound_mib:
            found.append(f"{flood}: {course.memory_mib:.0f} MiB, more than {bound_mib:.0f}")
    return found


def hosts_that_are_known(made: Installation) -> list[str]:
    """Hosts that are clean whatever the URL."""
    matcher = made.matcher()
    names = (f"host{n}.example" for n in itertools.count(2))
    clean = (n for n in names if not matcher.host(Host("name", n)).needs_url)
    return list(itertools.islice(clean, KNOWN))


def report(results: dict[str, dict[str, Course]]) -> None:
    head = ("flood", "inkgate", "calm p99", "p50", "p99", "ratio", "listed lost", "of",
            "unlisted lost", "of", "flood's answers", "MiB")  # fmt: skip
    rows = [
        (flood, name, c.calm.p99, c.flood.p50, c.flood.p99, c.ratio, *c.flood[2:], c.answers,
         c.memory_mib)
        for flood, courses in results.items()
        for name, c in courses.items()
    ]  # fmt: skip
    table(head, rows)


def main() -> None:
    parser = Arguments(
        __doc__, seconds=2.0, connections=200, held=200, headers=500, floods=["random IPv4"]
    )
    parser.add_argument("--through", choices=("helper", "icap"), default="helper")
    parser.add_argument("--floods", nargs="+", choices=list(FLOODS), default=list(FLOODS))
    parser.add_argument("--seconds", type=float, default=15.0, help="of each calm and flood")
    parser.add_argument("--rate", type=float, default=50.0, help="victim's requests a second")
    parser.add_argument("--connections", type=int, default=4_000, help="of floods by requests")
    parser.add_argument("--flood-rate", type=float, default=400.0, help="requests a second")
    parser.add_argument("--header-rate", type=float, default=150.0, help="the same of huge ones")
    parser.add_argument("--held-rate", type=float, default=60.0, help="the same of downloads")
    parser.add_argument("--held", type=int, default=1_500, help="downloads, and ICAP connections")
    parser.add_argument("--headers", type=int, default=100_000, help="huge ones")
    parser.add_argument("--with-headers", type=int, default=64, help="connections that send them")
    parser.add_argument("--only", nargs="+", choices=(BARE, OURS), default=(BARE, OURS))
    parser.add_argument(
        "--against", type=Path, metavar="PATH", help="another virtual environment with inkgate"
    )
    options = parser.read()
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    # Ended from outside, it still ends what it has started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    machine = describe()
    made = installation()
    bound = None
    if options.through == "helper":
        bound = memory_bound(load_section(made.config, "helper", HelperSettings)) / (1 << 20)
    results: dict[str, dict[str, Course]] = {}
    try:
        known = hosts_that_are_known(made)
        for flood in options.floods:
            kind = FLOODS[flood]
            if options.through not in kind.ways:
                continue
            names = [n for n in options.only if not (n == BARE and kind.at_icap)]
            names += [THEIRS] if options.against else []
            results[flood] = {n: measure(made, known, n, flood, options) for n in names}
            report({flood: results[flood]})
    finally:
        made.close()
    found = faults(results, bound) if OURS in options.only else []
    print(*found, sep="\n")
    plain = {f: {n: c._asdict() for n, c in courses.items()} for f, courses in results.items()}
    save(
        f"squid_floods_{options.through}", machine, options, results=plain, bound_mib=bound,
        faults=found,
    )  # fmt: skip
    # What a quick run shows of a busy machine's times means nothing.
    sys.exit(bool(found) and not options.quick)


if __name__ == "__main__":
    main()
