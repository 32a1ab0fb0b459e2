"""A real Squid with helper or ICAP server, whose processes may be killed and come again."""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, NamedTuple

import psutil

from inkgate.icap_server.settings import Fail
from inkgate.squid_conf.bypasses import bypass_lines
from inkgate.squid_conf.launching import place_launcher
from support.icap_squid import IcapSquid
from support.installation import BIN, SETTINGS, Installation, attribute
from support.placed_squid import configure_squid
from support.squid import wait_until_listening
from support.status import Status, status
from support.waiting import wait_until

Front = Literal["helper", "icap"]

DOMAINS = tuple(f"listed{n}.example" for n in range(20))
FILE_URL = "http://files.example/malware/payload.exe"
ADDRESS = "198.51.100.66"
LISTED_PATH, CLEAN_PATH = "/listed-file", "/clean-file"
UNAVAILABLE = "inkgate-unavailable"
# So small that memories are full soon: what grows after that is a leak.
_SMALL = "cached_hosts = 1000\ncached_keys = 1000\n"
_AGAIN_SECONDS = 1.0
# Each look is a process of its own.
_BETWEEN_LOOKS_SECONDS = 0.5
_HELPER_LOG = "%ts.%03tu|%>a|%>Hs|%rm|%ru|%ea"
_ICAP_LOG = "%ts.%03tu|%icap::rm|%icap::to|%icap::Hs|%ru|%{X-Inkgate-Incident}icap::<h"
# A second question for each request would make the sums of `by-fail` unequal.
_REPLY_LINES = "http_reply_access deny inkgate_reply"


class Window(NamedTuple):
    """When processes of a set-up were gone or stopped, in seconds since 1970."""

    began: float
    ended: float


class Setup:
    """One Squid, its front end of inkgate, and what was done to it; end it with `close`.

    Args:
        front: whom Squid asks.
        fail: what is answered without a verdict.
        seed: of the listed file.

    Attributes:
        new_domains: names that were listed later, and are in use by now.
        counts_bypasses: `inkgate squid bypasses` runs.
        outages: when something was killed or stopped.
        interruptions: when Squid took no connections.
        act: held while a fault is at work, and while nothing may be.
    """

    def __init__(self, front: Front, fail: Fail, seed: int) -> None:
        self.front, self.fail = front, fail
        self.name = f"{front}-{fail}"
        self.new_domains: list[str] = []
        self.outages: list[Window] = []
        self.interruptions: list[Window] = []
        self.act = threading.Lock()
        self.is_paused = threading.Event()
        self.refreshes = self._moved = 0
        self.lost: dict[str, int] = {}
        self.probed: list[Any] = []
        draw = random.Random(seed)
        self.listed_file, self.clean_file = draw.randbytes(20_000), draw.randbytes(200_000)
        self.installation = self._installed()
        self.squid = IcapSquid(
            self.installation, fail=fail, settings=_SMALL, is_helper=front == "helper"
        )
        files = self.squid.origin.files
        files[LISTED_PATH], files[CLEAN_PATH] = (self.listed_file, {}), (self.clean_file, {})
        self.journals = self.installation.folder / "journals"
        self.journals.mkdir()
        self._supervised = front == "icap"
        if front == "helper":
            self.squid.icap.close()
            place_launcher(self.installation.folder / "launcher", fail)
        self.counts_bypasses = self.name == "icap-open"
        self._restart_squid()
        if self.counts_bypasses:
            command = [BIN / "inkgate", "--config", self.installation.config, "squid", "bypasses"]
            with (self.installation.folder / "bypasses.log").open("w") as said:
                self._counting_bypasses = subprocess.Popen(command, stderr=said)
        self._keeper = threading.Thread(target=self._keep, daemon=True)
        self._keeper.start()

    def _installed(self) -> Installation:
        text = SETTINGS.replace('fail = "open"\n', f'fail = "{self.fail}"\n{_SMALL}')
        made = Installation(text)
        digest = hashlib.sha256(self.listed_file).hexdigest()
        made.add(
            "listed",
            *(attribute("domain", name) for name in DOMAINS),
            attribute("url", FILE_URL),
            attribute("ip-dst", ADDRESS),
            attribute("sha256", digest),
        )
        made.refresh()
        return made

    def _restart_squid(self) -> None:
        """With a log in which each request, or each ICAP message, is told apart."""
        squid = self.squid
        squid.process.send_signal(signal.SIGTERM)
        squid.process.wait(60)
        conf = squid.folder / "squid.conf"
        log = f"stdio:{self.log}"
        if self.front == "helper":
            lines = f"logformat soak {_HELPER_LOG}\naccess_log {log} soak\n"
        else:
            lines = f"logformat soak {_ICAP_LOG}\nicap_log {log} soak\n"
        if self.counts_bypasses:
            where = self.squid.folder / "bypasses.log"
            lines += "\n".join(bypass_lines(str(where)))
            configure_squid(self.installation, f'bypasses = "{where}"')
        kept = [
            line
            for line in conf.read_text().splitlines()
            if not (self.fail == "open" and line.startswith(_REPLY_LINES))
        ]
        conf.write_text("\n".join([*kept, "strip_query_terms off", lines]))
        # With a process that starts Squid again, as on any machine: 5.7 ends by an assertion of
        # its own (Write.cc) now and then when a helper is killed that has requests to answer.
        command = [str(word) for word in squid.process.args]  # type: ignore[union-attr]
        command[command.index("-N")] = "--foreground"
        squid.process = subprocess.Popen(command)
        wait_until_listening(squid.process, squid.port, squid.folder / "cache.log")

    @property
    def log(self) -> Path:
        return self.squid.folder / "soak.log"

    @property
    def squids_log(self) -> str:
        """What Squid and its helpers have said."""
        return (self.squid.folder / "cache.log").read_text("utf-8", "replace")

    @property
    def own_log(self) -> str:
        """What inkgate's processes have said."""
        if self.front == "helper":
            return self.squids_log
        counted = self.installation.folder / "bypasses.log"
        return self.squid.icap.log + (counted.read_text() if counted.exists() else "")

    @property
    def crashes(self) -> int:
        """How often Squid has ended by a fault of its own."""
        return len(re.findall(r"assertion failed|FATAL", self.squids_log))

    @property
    def health(self) -> Path:
        return self.installation.folder / "run" / "health"

    def status(self) -> Status:
        return status(self.installation)

    def helpers(self) -> list[int]:
        """Processes that Squid has started to ask them: helpers, or what stands in for them."""
        return [pid for pid, words in self._below(self.squid.process.pid) if "helper" in words]

    def launchers(self) -> list[int]:
        return [pid for pid, words in self._below(self.squid.process.pid) if "launch" in words]

    def squids(self) -> list[int]:
        """Squid itself, without the process that starts it again."""
        return [pid for pid, words in self._below(self.squid.process.pid) if "(squid" in words]

    def workers(self) -> list[int]:
        with suppress(FileNotFoundError):
            return self.squid.icap.workers()
        return []

    def processes(self) -> list[int]:
        """All of inkgate's that serve now."""
        if self.front == "helper":
            return self.helpers()
        return [self.squid.icap.process.pid, *self.workers()]

    def kill(self, *pids: int) -> None:
        """kill -9; noted as an outage until something serves again."""
        began = time.time()
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.outages.append(Window(began, began + 5))

    @contextmanager
    def outage(self) -> Iterator[None]:
        """Something is done that may end processes."""
        began = time.time()
        try:
            yield
        finally:
            self.outages.append(Window(began, time.time() + 5))

    def reconfigure(self) -> None:
        """As `squid -k reconfigure` does, at which Squid closes its port for a moment."""
        began = time.time()
        self.squid.process.send_signal(signal.SIGHUP)
        time.sleep(2)
        self.interruptions.append(Window(began, time.time()))

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """SIGSTOP for all of inkgate's processes."""
        began, pids = time.time(), self.processes()
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)
            self.outages.append(Window(began, time.time() + 5))

    @contextmanager
    def quiet(self) -> Iterator[None]:
        """No load and no fault."""
        with self.act:
            self.is_paused.set()
            time.sleep(3)
            try:
                yield
            finally:
                self.is_paused.clear()

    def refresh(self, *words: str) -> None:
        done = self.installation.run("inkgate-rules", "refresh", *words)
        assert done.returncode == 0, (done.stdout, done.stderr)

    def serial(self) -> int:
        """The oldest rule set that a process serves from; 0 if none does."""
        row = self.status().rows.get(self.front)
        return int(row["data"].get("oldest_serial", 0)) if row and row["data"] else 0

    def serving(self) -> bool:
        """Whether a process has opened rules, so that its end would be noted."""
        if self.serial() > 0:
            return True
        time.sleep(_BETWEEN_LOOKS_SECONDS)
        return False

    def is_current(self) -> bool:
        """Whether all processes that serve do so from the newest rules."""
        manifest = self.installation.places.installed / "current" / "manifest.json"
        if self.serial() == json.loads(manifest.read_text())["serial"]:
            return True
        time.sleep(_BETWEEN_LOOKS_SECONDS)
        return False

    def move_journal(self) -> None:
        """Move it away, as somebody does who wants a copy."""
        self._moved += 1
        for path in self.installation.folder.glob("run/sightings.db*"):
            path.rename(self.journals / f"{self._moved}-{path.name}")

    def remove_counters(self) -> None:
        """Remove the counters' folder; what the dead had counted is kept here."""
        before, alive = self.numbers(), self._counting()
        shutil.rmtree(self.health, ignore_errors=True)
        wait_until(lambda: _running(alive) <= self._counting(), "the counters of all that go on")
        after = self.numbers()
        for name, number in before.items():
            if number > after.get(name, 0):
                self.lost[name] = self.lost.get(name, 0) + number - after.get(name, 0)

    def _counting(self) -> set[int]:
        """Processes of inkgate's that run and have counters, but for the standby."""
        names = [path.name.rsplit("-", 2) for path in self.health.glob("inkgate-*.counters")]
        found = {int(pid) for program, pid, _ in names if program != "inkgate-standby"}
        return _running(found)

    def numbers(self) -> dict[str, int]:
        """How often what was counted, as `inkgate status` says it."""
        rows = self.status().rows
        found = {
            name: int(row["data"]["count"])
            for name, row in rows.items()
            if row["data"] and "count" in row["data"]
        }
        return {**found, **{k: int(v) for k, v in rows["by-fail"]["data"].items()}}

    def total(self) -> dict[str, int]:
        """The same, with what was removed."""
        found = self.numbers()
        return {n: found.get(n, 0) + self.lost.get(n, 0) for n in {**found, **self.lost}}

    @contextmanager
    def broken_settings(self) -> Iterator[None]:
        """A word that nobody knows in the front end's section."""
        config = self.installation.config
        sound = config.read_text()
        write_whole(config, sound.replace(f"[{self.front}]\n", f"[{self.front}]\nmisspelt = 1\n"))
        try:
            yield
        finally:
            write_whole(config, sound)

    def _keep(self) -> None:
        """As a service manager does: what has ended is started again."""
        while self._supervised:
            icap = self.squid.icap
            if icap.process.poll() is not None:
                time.sleep(_AGAIN_SECONDS)
                with icap.log_path.open("a") as log:
                    icap.process = subprocess.Popen(
                        [BIN / "inkgate-icap", "--config", self.installation.config], stderr=log
                    )
            time.sleep(0.1)

    def _below(self, pid: int) -> list[tuple[int, str]]:
        found = []
        with suppress(psutil.NoSuchProcess):
            for process in psutil.Process(pid).children(recursive=True):
                with suppress(psutil.NoSuchProcess):
                    words = " ".join(process.cmdline())
                    if "--check" not in words.split():
                        found.append((process.pid, words))
        return found

    def close(self, *, keep: bool = False) -> None:
        """End all of it.

        Args:
            keep: leave its folder.
        """
        self._supervised = False
        self._keeper.join(10)
        if self.counts_bypasses:
            self._counting_bypasses.terminate()
            self._counting_bypasses.wait(60)
        self.squid.process.send_signal(signal.SIGTERM)
        self.squid.process.wait(60)
        if self.front == "icap":
            self.squid.icap.close()
        self.squid.origin.close()
        self.squid.secure.close()
        if keep:
            print(f"{self.name}: {self.installation.folder}")
        else:
            self.installation.close()


def write_whole(path: Path, text: str) -> None:
    """Replace a file by another of the same owner and mode, as editors do."""
    beside = path.with_name(f"{path.name}.new")
    beside.write_text(text)
    shutil.copystat(path, beside)
    found = path.stat()
    os.chown(beside, found.st_uid, found.st_gid)
    beside.replace(path)


def _running(pids: set[int]) -> set[int]:
    """Those that have not ended: a worker that retires does so at any time."""
    return {pid for pid in pids if psutil.pid_exists(pid)}
