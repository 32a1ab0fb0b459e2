"""Queued lines, consumers killed with SIGKILL at random: is every line matched at least once?

A real redis-server with an append-only file; every line is listed, so every line must
be in the output. Once as a list, once as a stream.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import redis

from harness.arguments import Arguments
from harness.machine import describe, save, table
from support.installation import BIN, Installation, attribute
from support.logs import access_line
from support.redis_server import RedisServer

_ORPHANED = 3.0


def fill(client: redis.Redis, key: str, option: str, lines: int) -> None:
    pipeline = client.pipeline(transaction=False)
    for number in range(lines):
        line = access_line(f"http://listed.example/{number}", number=number)
        if option == "--redis-stream":
            pipeline.xadd(key, {"message": line})
        else:
            pipeline.rpush(key, line)
        if number % 5000 == 4999:
            pipeline.execute()
    pipeline.execute()


def consumer(
    made: Installation, server: RedisServer, out: Path, *more: str
) -> subprocess.Popen[bytes]:
    with out.open("wb") as file:
        return subprocess.Popen(
            [
                *(BIN / "inkgate-rules", "--config", made.config, "match", "--json", "--quiet"),
                *("--jobs", "1", "--redis", server.url, "--orphaned-after", str(_ORPHANED), *more),
            ],
            stdout=file,
        )


def numbers(out: Path) -> list[int]:
    # What follows the last newline was cut by a kill.
    lines = out.read_text().split("\n")[:-1]
    return [int(json.loads(line)["observed"].rpartition("/")[2]) for line in lines]


def trial(
    made: Installation, server: RedisServer, option: str, lines: int, most_kills: int
) -> dict[str, Any]:
    key = option.removeprefix("--")
    fill(server.client(), key, option, lines)
    chance = random.Random(2017)
    seen: list[int] = []
    kills = 0
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        running: list[tuple[subprocess.Popen[bytes], Path]] = []
        while kills < most_kills:
            while len(running) < 3:
                out = Path(folder) / f"{kills}-{len(running)}-{time.monotonic_ns()}"
                running.append((consumer(made, server, out, option, key), out))
            time.sleep(0.6 + chance.random())
            process, out = running.pop(chance.randrange(len(running)))
            process.kill()
            process.wait()
            kills += 1
            seen += numbers(out)
        for process, out in running:
            process.kill()
            process.wait()
            seen += numbers(out)
        out = Path(folder) / "last"
        consumer(made, server, out, option, key, "--until-empty").wait()
        seen += numbers(out)
    return {
        "queue": key,
        "lines": lines,
        "killed": kills + len(running),
        "lost": lines - len(set(seen)),
        "matched twice": len(seen) - len(set(seen)),
        "seconds": time.perf_counter() - started,
    }


def main() -> None:
    parser = Arguments(__doc__, lines=10_000, kills=3)
    parser.add_argument("--lines", type=int, default=100_000)
    parser.add_argument("--kills", type=int, default=12)
    options = parser.read()
    machine = describe()
    made = Installation()
    made.add("listed", attribute("domain", "listed.example"))
    made.refresh()
    with RedisServer() as server:
        rows = [
            trial(made, server, option, options.lines, options.kills)
            for option in ("--redis-list", "--redis-stream")
        ]
    made.close()
    table(list(rows[0]), [list(row.values()) for row in rows])
    save("match_queue", machine, options, rows=rows)
    sys.exit(1 if any(row["lost"] for row in rows) else 0)


if __name__ == "__main__":
    main()
