"""Lines a second that the standby answers while the helper cannot start, by length of line.

What Squid asks must never wait for it: a busy proxy sends some ten thousand lines a second.
Prints a table and writes bench/results/launcher.json.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
import threading
import time
from pathlib import Path

from harness.arguments import Arguments
from harness.machine import describe, median, save, table
from inkgate.squid_conf.launching import LAUNCHER, place_launcher

BYTES = (60, 300, 8_000)
_BLOCK = 1 << 16


def lines_of(size: int, count: int) -> bytes:
    """Lines as Squid sends them, each so many bytes long with its newline."""
    made = bytearray()
    for number in range(count):
        begun = b"%d GET http://host%d.example/" % (number, number % 1000)
        made += begun.ljust(size - 15, b"a") + b" 192.0.2.1 - -\n"
    return bytes(made)


def rate(launcher: Path, folder: Path, data: bytes, count: int) -> float:
    """Lines a second from the first byte sent to the last answer."""
    process = subprocess.Popen(
        [launcher, folder / "missing", folder / "inkgate.toml"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdin
    assert process.stdout
    # The first answer shows that the standby is there.
    process.stdin.write(b"0 GET http://first.example/ 192.0.2.1 - -\n")
    process.stdin.flush()
    assert process.stdout.readline().startswith(b"0 ERR")
    began = time.perf_counter()
    sender = threading.Thread(target=_send, args=(process, data))
    sender.start()
    answers = 0
    while answers < count:
        block = process.stdout.read1(_BLOCK)
        assert block, "the standby ended"
        answers += block.count(b"\n")
    seconds = time.perf_counter() - began
    sender.join()
    process.wait(60)
    process.stdout.close()
    return count / seconds


def _send(process: subprocess.Popen[bytes], data: bytes) -> None:
    assert process.stdin
    process.stdin.write(data)
    process.stdin.close()


def measure(options: argparse.Namespace) -> dict[int, list[float]]:
    """Rates by length of line."""
    found: dict[int, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="inkgate-bench-") as name:
        folder = Path(name)
        place_launcher(folder / "launcher", "open")
        health = folder / "health"
        (folder / "inkgate.toml").write_text(f'[health]\nfolder = "{health}"\n')
        for size in BYTES:
            count = max(1, options.megabytes * 1_000_000 // size)
            data = lines_of(size, count)
            found[size] = [
                rate(folder / "launcher" / LAUNCHER, folder, data, count)
                for _ in range(options.runs)
            ]
    return found


def main() -> None:
    parser = Arguments(__doc__, megabytes=1, runs=1)
    parser.add_argument("--megabytes", type=int, default=60, help="of lines a run")
    parser.add_argument("--runs", type=int, default=5)
    options = parser.read()
    machine = describe()
    found = measure(options)
    table(
        ("bytes a line", "lines/s", "lowest"),
        [(size, median(rates), min(rates)) for size, rates in found.items()],
    )
    save("launcher", machine, options, lines_per_second=found)


if __name__ == "__main__":
    main()
