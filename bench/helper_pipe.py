"""Lines a second through the helper's pipe, beside squidGuard on the same requests.

squidGuard (Debian's package) keeps its list in clear in a Berkeley DB; inkgate
keeps encrypted rules. Both read the same warm stream of unlisted hosts, in turns.
Prints a table and writes bench/results/helper_pipe.json.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from support.installation import BIN, Installation, attribute

HOSTS = 20_000
LINES = 200_000
LISTED = 10_000
RUNS = 5
BATCHES = (1, 16, 256)

Command = list[str | Path]


def requests_for_inkgate(count: int) -> list[bytes]:
    return [
        b"%d GET http://host%d.example/a/path?x=%d 192.0.2.1 - - -\n" % (n, n % HOSTS, n)
        for n in range(count)
    ]


def requests_for_squidguard(count: int) -> list[bytes]:
    return [
        b"%d http://host%d.example/a/path?x=%d 192.0.2.1/- - GET\n" % (n, n % HOSTS, n)
        for n in range(count)
    ]


def rate(command: Command, lines: list[bytes], batch: int) -> float:
    """Lines a second with `batch` requests under way at a time, after one warming round."""
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert process.stdin
    assert process.stdout
    out = process.stdout.fileno()
    into = process.stdin.fileno()
    exchange(into, out, lines[:HOSTS], 256)
    count = LINES // (8 if batch == 1 else 1)
    started = time.perf_counter()
    exchange(into, out, lines[:count], batch)
    seconds = time.perf_counter() - started
    process.stdin.close()
    process.wait()
    return count / seconds


def exchange(into: int, out: int, lines: list[bytes], batch: int) -> None:
    for start in range(0, len(lines), batch):
        part = lines[start : start + batch]
        writer = threading.Thread(target=write_all, args=(into, b"".join(part)))
        data = b"".join(part)
        if len(data) < 32_768:
            write_all(into, data)
        else:
            writer.start()
        wanted = len(part)
        while wanted > 0:
            wanted -= os.read(out, 1 << 16).count(b"\n")


def write_all(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


def squidguard(folder: Path) -> Command | None:
    """A squidGuard with the same list, or None if it is not installed."""
    program = shutil.which("squidGuard", path="/usr/bin:/usr/sbin")
    if program is None:
        return None
    (folder / "domains").write_text("".join(f"listed{n}.example\n" for n in range(LISTED)))
    conf = folder / "squidGuard.conf"
    conf.write_text(
        f"dbhome {folder}\nlogdir {folder}\n"
        "dest listed {\n domainlist domains\n}\n"
        "acl {\n default {\n  pass !listed all\n  redirect http://blocked.example/\n }\n}\n"
    )
    subprocess.run([program, "-c", conf, "-C", "all"], check=True, capture_output=True)
    return [program, "-c", conf]


def main() -> None:
    installation = Installation()
    installation.add("listed", *(attribute("domain", f"listed{n}.example") for n in range(LISTED)))
    installation.refresh()
    ours: Command = [BIN / "inkgate-helper", "--config", installation.config]
    with tempfile.TemporaryDirectory() as folder:
        peer = squidguard(Path(folder))
        contenders: dict[str, tuple[Command, list[bytes]]] = {
            "inkgate": (ours, requests_for_inkgate(LINES))
        }
        if peer:
            contenders["squidGuard"] = (peer, requests_for_squidguard(LINES))
        results = measure(contenders, rate)
    installation.close()
    report(results)


def measure(
    contenders: dict[str, tuple[Command, list[bytes]]],
    how: Callable[[Command, list[bytes], int], float],
) -> dict[str, dict[int, list[float]]]:
    results: dict[str, dict[int, list[float]]] = {name: {} for name in contenders}
    for batch in BATCHES:
        for _ in range(RUNS):
            for name, (command, lines) in contenders.items():
                results[name].setdefault(batch, []).append(how(command, lines, batch))
    return results


def report(results: dict[str, dict[int, list[float]]]) -> None:
    print(f"{'batch':>6}" + "".join(f"{name:>14}" for name in results) + "    lines/s, medians")
    for batch in BATCHES:
        medians = [statistics.median(runs[batch]) for runs in results.values()]
        print(f"{batch:>6}" + "".join(f"{median:>14,.0f}" for median in medians))
    path = Path(__file__).parent / "results" / "helper_pipe.json"
    path.parent.mkdir(exist_ok=True)
    machine = {"cores": os.cpu_count(), "python": platform.python_version()}
    path.write_text(json.dumps({"machine": machine, "lines_per_second": results}, indent=1))


if __name__ == "__main__":
    main()
