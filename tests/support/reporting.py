"""A MISP, a journal and the reporter between them."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from typing import Any, Self

from inkgate.sightings.journal.journal import Journal
from inkgate.sightings.journal.sighting import Sighting
from support.installation import BIN
from support.misp import Faults, Misp, MispServer, Role
from support.misp.answers import Answer
from support.waiting import wait_until

DAY = 86_400
# Midnight, so that what is about days is easy to say; not long ago, so that all is kept.
MORNING = float((int(time.time()) // DAY - 7) * DAY)
QUICK = """first_wait = 0.01
longest_wait = 0.05
timeout = 0.4
attempts = 200
"""

# As the helper journals: some incidents together, in blocks.
WRITER = """
import random, sys
from pathlib import Path
from inkgate.sightings.journal.block import Block
from inkgate.sightings.journal.journal import Journal
path, node, count, seed, attributes, morning = sys.argv[1:7]
known = [line.split() for line in Path(attributes).read_text().splitlines()]
choose = random.Random(int(seed))
journal = Journal(Path(path), busy_timeout=60)
block = Block()
for n in range(int(count)):
    uuid, event = choose.choice(known)
    moment = float(morning) + choose.randrange(3 * 86400) + n / int(count)
    rule = ("domain", "block", (uuid,), (event,))
    block.add(moment, f"IG-{node}{seed}N{n:07d}", "192.0.2.1", "GET", [rule])
    if not choose.randrange(4) or n == int(count) - 1:
        journal.append_block(node, block)
        block = Block()
    if n % 100 == 99:
        print(n + 1, flush=True)
"""


class Reporting:
    """Settings with a MISP in a temporary folder; the commands run as processes.

    Args:
        server: the MISP.
        sightings: further lines of `[sightings]`.
        misp: lines of `[sightings.misp]`.
        more: further sections.
    """

    def __init__(
        self, server: MispServer, sightings: str = "", misp: str = QUICK, more: str = ""
    ) -> None:
        self.server = server
        self.folder = Path(tempfile.mkdtemp(prefix="inkgate-report-"))
        self.journal = Journal(self.folder / "sightings.db", busy_timeout=60)
        self.config = self.folder / "inkgate.toml"
        journal = "" if "journal =" in sightings else 'journal = "sightings.db"\n'
        self.config.write_text(
            '[health]\nfolder = "health"\n'
            f'[sightings]\n{journal}node = "proxy1"\nclients_key_file = "clients.key"\n'
            f'spool = "sightings.db"\ncollected = "collected.db"\n{sightings}\n'
            f'[sightings.misp]\nurl = "{server.url}"\nkey_file = "misp.key"\n{misp}\n{more}\n'
        )
        (self.folder / "misp.key").write_text(server.key)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.journal.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def run(self, *arguments: str, status: int = 0) -> str:
        """Run `inkgate-sightings`; what it printed."""
        done = subprocess.run(
            self.command(*arguments), capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == status, (done.returncode, done.stdout, done.stderr)
        return done.stdout + done.stderr

    def json(self, *arguments: str) -> list[Any]:
        return [json.loads(line) for line in self.run(*arguments, "--json").splitlines()]

    def command(self, *arguments: str) -> list[str | Path]:
        return [BIN / "inkgate-sightings", "--config", self.config, *arguments]

    def told(self) -> list[tuple[str, str, int, str]]:
        """Attribute, node, day and type of each sighting that the MISP has."""
        return sorted(
            (s.attribute.uuid, s.source, int(s.date_sighting // DAY), s.type)
            for s in self.server.misp.sightings.values()
        )


def sighting(
    attributes: Iterable[str], moment: float = MORNING, incident: str = "IG-0000000000", **more: Any
) -> Sighting:
    """A match as the recorder journals it."""
    return Sighting(
        **{
            "time": moment, "incident": incident, "indicator_class": "domain",
            "attributes": tuple(attributes), "client": "192.0.2.7", "method": "GET",
            "action": "block", "node": "proxy1", **more,
        }
    )  # fmt: skip


def truth(journals: Iterable[Path]) -> list[tuple[str, str, int, str]]:
    """What a MISP must have after all records of some journals are told, each once."""
    return sorted(
        {
            (attribute, s.node, int(s.time // DAY), "0")
            for path in journals
            for s in Journal(path).read()
            for attribute in s.attributes
        }
    )


def counted(path: Path) -> int:
    """How many records the sightings of an outbox stand for."""
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("SELECT sum(count) FROM outbox").fetchone()[0])


def populated(events: int, attributes: int) -> Misp:
    """A MISP with so many events, and so many attributes in each."""
    misp = Misp()
    for e in range(events):
        misp.add_event(f"event {e}", [("domain", f"d{a}.e{e}.example") for a in range(attributes)])
    return misp


def rough(seed: int, **more: Any) -> Faults:
    """A MISP that fails at every fifth request, in every way that there is."""
    kinds = ("429", "429-retry-after", "500", "hang", "cut", "not-json", "drop", "late")
    return Faults(
        seed, **{"rate": 0.2, "kinds": kinds, "limit": 10**9, "hang_seconds": 0.6, **more}
    )


class Writers:
    """Processes that append matches, each to a journal, as fast as they can."""

    def __init__(
        self, misp: Misp, folder: Path, journals: list[tuple[Path, str]], count: int
    ) -> None:
        known = folder / "attributes"
        known.write_text("".join(f"{a.uuid} {a.event.id}\n" for a in misp.attributes.values()))
        self.processes = [
            subprocess.Popen(
                [sys.executable, "-c", WRITER, path, node, str(count), str(n), known, str(MORNING)],
                stdout=subprocess.DEVNULL,
            )
            for n, (path, node) in enumerate(journals)
        ]

    @property
    def are_writing(self) -> bool:
        return any(process.poll() is None for process in self.processes)

    def wait(self) -> None:
        for process in self.processes:
            assert process.wait(600) == 0


def wait_for_requests(server: MispServer, count: int) -> None:
    """Wait until a MISP has got so many more requests."""
    enough = len(server.requests) + count
    wait_until(lambda: len(server.requests) >= enough, f"{count} more requests to the MISP")


class Killed:
    """A reporter that is killed (-9) in the middle of its work and started again.

    Args:
        command: the reporter's.
        server: the MISP that it tells.
        kills: how many times.
        seed: of the numbers of requests after which it is killed.
        most: the largest of them.
    """

    def __init__(
        self, command: list[str | Path], server: MispServer, kills: int, seed: int, most: int = 4
    ) -> None:
        self.kills = 0
        self._command = command
        self._server = server
        self._wanted = kills
        self._random = random.Random(seed)
        self._most = most
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def wait(self) -> None:
        self._thread.join(600)
        assert self.kills == self._wanted

    def _run(self) -> None:
        while self.kills < self._wanted:
            more = self._random.randint(1, self._most)
            process = subprocess.Popen(self._command, stderr=subprocess.DEVNULL, env={**os.environ})
            wait_for_requests(self._server, more)
            assert process.poll() is None, "the reporter has ended by itself"
            process.send_signal(signal.SIGKILL)
            process.wait()
            self.kills += 1


def answer_bulk_by(
    server: MispServer, answer: Callable[[str, Callable[[], Answer]], Answer]
) -> None:
    """Let a function answer bulkSaveSightings, of an event and of what does it really."""
    real = server._api.sightings.bulk_save

    def handler(role: Role, body: Any, event: str) -> Answer:
        return answer(event, lambda: real(role, body, event))

    server._api._routes = [
        (pattern, handler if "bulkSave" in pattern.pattern else old)
        for pattern, old in server._api._routes
    ]
