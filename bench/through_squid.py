"""End to end through real Squids: bare, with inkgate, and with what does the same or nothing.

wrk sends absolute URLs (20,000 hosts, Zipf), nginx answers behind the proxies. All
Squids run all the time and are loaded in turns. Five parts, all with warm caches:

- full speed: as many requests as go through;
- distant: as many as 128 clients get through that pause for 10 to 30 ms, of servers that
  are 20 ms away;
- steady: a fixed load below that, for the time that a request takes;
- storm: the steady load while other clients ask for new names all the time, at several
  rates; for bare Squid also while a process beside it derives as much;
- reload: the steady load while generations are exchanged, and while the epoch is.

The null helper answers everything with ERR at once: what Squid needs for the asking alone.
Squid's url_regex tries one expression after the other, so it gets 1,000 of the
URLs and dstdomain all of the domains.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import random
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from harness import rule_sets
from harness.arguments import Arguments
from harness.machine import describe, median, save, table
from harness.pipe import Helper, our_line, squidguard
from harness.proxies import HOSTS, NEW_NAMES, Origin, Proxy, folder_for_squid
from inkgate.blocked_page.settings import SquidSettings
from inkgate.config.whole_file import swap_link
from inkgate.rules.install.serials import CURRENT
from inkgate.squid_conf.fragment import fragment
from inkgate.squid_conf.launching import Launching, place_launcher
from support.installation import BIN, Installation
from support.squid import Reply

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_STEADY = {"connections": 16, "pause": 15}
_DISTANT = {"connections": 128, "pause": 20, "path": "distant"}
_REGEXES = 1000
# What a storm does to other requests is little beside how much runs differ.
_STORMS_PER_RUN = 2
_QUANTILES = ("p50", "p99", "p99.9", "max")
_PARTS = ("full speed", "distant", "steady", "storm", "reload")
_new_names = itertools.count()

Result = dict[str, float]
Results = dict[str, list[Result]]


def ours(installation: Installation, children: int, helper: Path) -> str:
    """Squid's lines for inkgate, as our generator makes them, for some helper."""
    pages = installation.folder / "pages"
    installation.run("inkgate-squid-conf", "pages")
    launcher = installation.folder / "launcher"
    place_launcher(launcher, "open")
    return fragment(
        SquidSettings(children=children),
        launching=Launching(launcher, helper, installation.config),
        pages=pages,
        log="",
    )


def null_helper(folder: Path) -> Path:
    """A helper that finds nothing and looks at nothing."""
    path = folder / "null_helper"
    shutil.copy(Path(__file__).parent / "harness" / "null_helper.py", path)
    path.chmod(0o755)
    return path


def own_acls(folder: Path, clear: rule_sets.Peers) -> str:
    """Squid's lines for its own ACLs with the same indicators in files."""
    # A leading dot: subdomains, too.
    (folder / "domains").write_text("".join(f".{name}\n" for name in clear.domains))
    urls = (url.replace(".", r"\.") for url in clear.urls[:_REGEXES])
    (folder / "urls").write_text("".join(f"^http://{url}$\n" for url in urls))
    return (
        f'acl listed_domains dstdomain "{folder}/domains"\n'
        f'acl listed_urls url_regex "{folder}/urls"\n'
        "http_access deny listed_domains\nhttp_access deny listed_urls\n"
    )


def rewriter(folder: Path, clear: rule_sets.Peers) -> str | None:
    """Squid's lines for squidGuard."""
    command = squidguard(folder, clear.domains, clear.urls)
    if command is None:
        return None
    for path in (folder, *folder.iterdir()):
        shutil.chown(path, "proxy")
    words = " ".join(map(str, command))
    return f"url_rewrite_program {words}\nurl_rewrite_children 2 startup=1 concurrency=0\n"


def in_turns(proxies: list[Proxy], runs: int, load: Callable[[Proxy], Result]) -> Results:
    """Load the proxies in turns, in another order each time."""
    results: Results = {proxy.name: [] for proxy in proxies}
    for run in range(runs):
        start = run % len(proxies)
        for proxy in proxies[start:] + proxies[:start]:
            results[proxy.name].append(load(proxy))
    return results


def full_speed(proxy: Proxy, seconds: float) -> Result:
    return _with_cpu(proxy, lambda: proxy.load(seconds).result())


def distant(proxy: Proxy, seconds: float) -> Result:
    return _with_cpu(proxy, lambda: proxy.load(seconds, **_DISTANT).result())  # type: ignore[arg-type]


def _with_cpu(proxy: Proxy, load: Callable[[], Result]) -> Result:
    before = proxy.cpu_seconds()
    result = load()
    spent = {k: v - before[k] for k, v in proxy.cpu_seconds().items()}
    each = {f"{k}_us": v / result["requests"] * 1e6 for k, v in spent.items()}
    return {**result, **each}


def steady(proxy: Proxy, seconds: float) -> Result:
    return proxy.load(seconds, **_STEADY).result()  # type: ignore[arg-type]


def storm(proxy: Proxy, seconds: float, rate: int) -> tuple[Result, Result]:
    """The steady load's result, and that of the storm around it."""
    connections = 8
    pause = max(1, connections * 1000 // rate)
    # The names of one storm, and room for a rate that pauses cannot hold exactly.
    names = list(itertools.islice(_new_names, round((seconds + 1) * rate * 1.5)))
    if names[-1] >= NEW_NAMES:  # wrk counts from 1
        raise SystemExit(f"only {NEW_NAMES:,} new names: fewer runs, fewer a second")
    fresh = names[0]
    cold = proxy.load(seconds + 1, connections=connections, pause=pause, fresh=fresh)
    time.sleep(0.3)
    warm = steady(proxy, seconds)
    return warm, cold.result()


class Checks:
    """Asks for a listed and an unlisted name all the time, and counts wrong verdicts."""

    def __init__(self, proxy: Proxy) -> None:
        self.asked = 0
        self.wrong = 0
        self._proxy = proxy
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._ask)
        self._thread.start()

    def _ask(self) -> None:
        from http.client import HTTPConnection  # noqa: PLC0415

        while not self._stop.wait(0.05):
            for name, status in (("listed7.example", 403), ("host7.example", 200)):
                connection = HTTPConnection("127.0.0.1", self._proxy.port, timeout=20)
                connection.request("GET", f"http://{name}/{self.asked}")
                reply = connection.getresponse()
                got = Reply(reply.status, reply.read().decode("utf-8", "replace"))
                connection.close()
                self.asked += 1
                self.wrong += got.status != status

    def close(self) -> None:
        self._stop.set()
        self._thread.join()


def reload(proxy: Proxy, seconds: float, root: Path, generations: list[Path]) -> Result:
    """The steady load while the current generation changes every 1.5 seconds."""
    checks = Checks(proxy)
    load = proxy.load(seconds, **_STEADY)  # type: ignore[arg-type]
    end = time.monotonic() + seconds - 0.5
    for generation in itertools.cycle(generations):
        if time.monotonic() > end:
            break
        swap_link(root / CURRENT, generation)
        time.sleep(1.5)
    result = load.result()
    checks.close()
    return {**result, "asked": checks.asked, "wrong": checks.wrong}


def copies(installation: Installation, count: int) -> list[Path]:
    """The current generation and copies of it, each a generation of its own."""
    current = (installation.places.installed / CURRENT).resolve()
    made = [current]
    for number in range(1, count):
        target = current.with_name(f"{current.name}-{number}")
        shutil.copytree(current, target)
        made.append(target)
    return made


def new_epoch(installation: Installation, rules: int, aside: list[Path]) -> Path:
    """A generation of a new epoch; those in `aside` are current before and after."""
    parked = [path.rename(installation.folder / path.name) for path in aside]
    installation.refresh(new_epoch=True)
    rule_sets.enlarge(installation, rules)
    generation = (installation.places.installed / CURRENT).resolve()
    for path, place in zip(parked, aside, strict=True):
        path.rename(place)
    swap_link(installation.places.installed / CURRENT, aside[0])
    return generation


def derive_all(installation: Installation, hosts: int) -> None:
    """Have the keys of all hosts derived, as a proxy has that has run for a while."""
    helper = Helper([BIN / "inkgate-helper", "--config", installation.config])
    helper.exchange([our_line(n, b"host%d.example" % n) for n in range(1, hosts + 1)], 256)
    helper.close()
    run = installation.folder / "run"
    for path in (run, *run.rglob("*")):
        shutil.chown(path, "proxy", "proxy")


def warm(proxies: list[Proxy], seconds: float) -> None:
    """Show every proxy most of the hosts."""
    for proxy in proxies:
        for _ in range(2):
            proxy.load(seconds).result()


def main() -> None:
    parser = Arguments(
        __doc__,
        rules=20_000,
        runs=1,
        seconds=1,
        warm_seconds=1,
        epoch_seconds=4,
        hosts=300,
        storm=[50],
    )
    parser.add_argument("--rules", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5, help="of each run")
    parser.add_argument("--warm-seconds", type=float, default=5, help="of the first load")
    parser.add_argument("--epoch-seconds", type=float, default=15, help="of a run with a new epoch")
    parser.add_argument("--hosts", type=int, default=HOSTS, help="that are asked for")
    parser.add_argument("--children", type=int, default=1, help="helpers of inkgate")
    parser.add_argument(
        "--storm", type=int, nargs="+", default=[50, 100, 300], help="new names a second"
    )
    parser.add_argument(
        "--unresolved",
        action="store_true",
        help="give Squid no addresses, so that it looks all names up in vain",
    )
    parser.add_argument("--parts", nargs="+", choices=_PARTS, default=_PARTS)
    parser.add_argument("--plot", type=Path, help="write a PNG of all parts here")
    options = parser.read()
    if options.plot and set(options.parts) != set(_PARTS):
        parser.error("--plot shows all parts: leave --parts out")
    machine = describe()
    installation = rule_sets.make(options.rules)
    derive_all(installation, options.hosts)
    clear = rule_sets.clear_text(options.rules)
    origin = Origin()
    own, guard = folder_for_squid(), folder_for_squid()
    lines = {
        "bare": "",
        "inkgate": ours(installation, options.children, BIN / "inkgate-helper"),
        "null helper": ours(installation, options.children, null_helper(own)),
        "own ACLs": own_acls(own, clear),
        "squidGuard": rewriter(guard, clear),
    }
    proxies = [
        Proxy(name, text, origin, is_resolving=not options.unresolved, hosts=options.hosts)
        for name, text in lines.items()
        if text is not None
    ]
    try:
        results = measure(proxies, installation, options)
    finally:
        for proxy in proxies:
            proxy.close()
        origin.close()
        installation.close()
        shutil.rmtree(own)
        shutil.rmtree(guard)
    save("through_squid", machine, options, results=results)
    report(results)
    if options.plot:
        plot(results, options.plot)


def measure(
    proxies: list[Proxy], installation: Installation, options: argparse.Namespace
) -> dict[str, Results]:
    runs, seconds = options.runs, options.seconds
    warm(proxies, options.warm_seconds)
    parts: dict[str, Callable[[], Results]] = {
        "full speed": lambda: in_turns(proxies, runs, lambda p: full_speed(p, seconds)),
        "distant": lambda: in_turns(proxies, runs, lambda p: distant(p, seconds)),
        "steady": lambda: in_turns(proxies, runs, lambda p: steady(p, seconds)),
        "storm": lambda: storms(proxies[:2], options),
        "reload": lambda: reloads(proxies[1], installation, options),
    }
    return {name: parts[name]() for name in options.parts}


def storms(proxies: list[Proxy], options: argparse.Namespace) -> Results:
    """The steady load of each proxy without and with storms, in an order drawn anew.

    Bare Squid also has a storm beside other work: as many derivations as the names of the
    storm would need, made by a process that has nothing to do with the proxy.
    """
    results: Results = {}

    def turn(proxy: Proxy, rate: int, *, beside: bool) -> None:
        if not rate:
            results.setdefault(f"{proxy.name}, calm", []).append(steady(proxy, options.seconds))
            return
        with other_work(rate if beside else 0):
            busy, cold = storm(proxy, options.seconds, rate)
        name = f"{proxy.name}, storm of {rate}{', other work' if beside else ''}"
        for key, result in ((name, busy), (f"{name}: new names", cold)):
            results.setdefault(key, []).append(result)

    bare = proxies[0]
    turns = [(proxy, rate, False) for proxy in proxies for rate in (0, *options.storm)]
    turns += [(bare, rate, True) for rate in options.storm]
    for _ in range(options.runs * _STORMS_PER_RUN):
        for proxy, rate, beside in random.sample(turns, len(turns)):
            turn(proxy, rate, beside=beside)
    return {name: results[name] for name in sorted(results)}


@contextlib.contextmanager
def other_work(derivations: int) -> Iterator[None]:
    """So many derivations a second meanwhile, by a process of the lowest priority."""
    if not derivations:
        yield
        return
    program = Path(__file__).parent / "harness" / "other_work.py"
    process = subprocess.Popen([sys.executable, program, str(derivations)])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def reloads(proxy: Proxy, installation: Installation, options: argparse.Namespace) -> Results:
    root = installation.places.installed
    generations = copies(installation, 3)
    other = new_epoch(installation, options.rules, generations)
    results: Results = {"no reload": [], "reloads": []}
    for _ in range(options.runs):
        # Asking for verdicts is a load, too: both have it.
        results["no reload"].append(reload(proxy, options.seconds, root, generations[:1]))
        results["reloads"].append(reload(proxy, options.seconds, root, generations))
    results["new epoch"] = [
        reload(proxy, options.epoch_seconds, root, [generations[0], *[other] * 20])
    ]
    return results


def report(results: dict[str, Results]) -> None:
    for part in [part for part in ("full speed", "distant") if part in results]:
        print(f"{part}, medians; squid_us, helpers_us: processor time for a request")
        columns = ("requests_per_second", "p50", "p99", "p99.9", "squid_us", "helpers_us", "failed")
        table(("", *columns), _rows(results[part], columns))
    for part in [part for part in ("steady", "storm", "reload") if part in results]:
        print(f"{part}, medians; ms")
        columns = ("requests_per_second", *_QUANTILES, "failed")
        table(("", *columns), _rows(results[part], columns))
    if "reload" not in results:
        return
    runs = [run for part in results["reload"].values() for run in part]
    wrong, asked = (sum(run[key] for run in runs) for key in ("wrong", "asked"))
    print(f"wrong verdicts during reloads: {wrong:.0f} of {asked:.0f}")


def _rows(results: Results, columns: tuple[str, ...]) -> list[tuple[object, ...]]:
    return [
        (name, *(median([run[column] for run in runs]) for column in columns))
        for name, runs in results.items()
    ]


def plot(results: dict[str, Results], path: Path) -> None:
    import matplotlib as mpl  # noqa: PLC0415 (slow to import)

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    figure, axes = plt.subplots(1, 3, figsize=(13, 4.2), layout="constrained")
    _plot_rates(axes[0], results)
    for name, runs in results["steady"].items():
        axes[1].plot(
            _QUANTILES, [median([run[q] for run in runs]) for q in _QUANTILES], "o-", label=name
        )
    axes[1].set(title="1,000 requests/s: ms a request takes", ylim=(0, None))
    axes[1].legend()
    _plot_storms(axes[2], results["storm"])
    figure.savefig(path, dpi=110)


def _plot_rates(axis: Axes, results: dict[str, Results]) -> None:
    labels = {"full speed": "servers beside it, Squid saturated", "distant": "servers 20 ms away"}
    for number, (part, label) in enumerate(labels.items()):
        found = results[part]
        bare = median([run["requests_per_second"] for run in found["bare"]])
        rates = [[run["requests_per_second"] / bare for run in runs] for runs in found.values()]
        middle = [median(each) for each in rates]
        reach = [[m - min(each) for m, each in zip(middle, rates, strict=True)]]
        reach.append([max(each) - m for m, each in zip(middle, rates, strict=True)])
        places = [place + number * 0.4 for place in range(len(found))]
        axis.bar(places, middle, 0.38, yerr=reach, label=label)
        axis.set_xticks([place + 0.2 for place in range(len(found))], list(found), rotation=15)
    axis.set(title="requests/s, bare Squid = 1", ylim=(0, 1.35))
    axis.legend(loc="upper right")


def _plot_storms(axis: Axes, results: Results) -> None:
    p99 = {name: median([run["p99"] for run in runs]) for name, runs in results.items()}
    rates = sorted(
        int(name.rpartition(" ")[2])
        for name in p99
        if name.startswith("bare, storm of") and name[-1].isdigit()
    )
    for label, proxy, beside in (
        ("inkgate", "inkgate", ""),
        ("bare", "bare", ""),
        ("bare, as much derived beside it", "bare", ", other work"),
    ):
        calm = p99[f"{proxy}, calm"]
        ratios = [p99[f"{proxy}, storm of {rate}{beside}"] / calm for rate in rates]
        axis.plot([0, *rates], [1, *ratios], "o-", label=label)
    axis.set(title="p99 of warm requests, without storm = 1", xlabel="new names/s", ylim=(0, None))
    axis.legend()


if __name__ == "__main__":
    main()
