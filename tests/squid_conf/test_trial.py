"""The trial: it says when new rules work, and nothing of it is left when its terminal closes."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import signal
import subprocess
from collections.abc import Iterator

import psutil
import pytest

from support.installation import BIN, Installation, attribute
from support.squid import free_port
from support.waiting import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


class Trial:
    """`inkgate-squid-conf run` on a terminal of its own."""

    def __init__(self, installation: Installation, *before: str) -> None:
        self.port = free_port()
        self.folder = installation.folder
        self._terminal, inside = pty.openpty()
        self.process = subprocess.Popen(
            [
                *("setsid", "--ctty", *before),
                BIN / "inkgate-squid-conf",
                *("run", "--state", installation.folder, "--port", str(self.port)),
            ],
            stdin=inside,
            stdout=inside,
            stderr=inside,
        )
        os.close(inside)
        self.said = ""
        os.set_blocking(self._terminal, False)
        try:
            wait_until(lambda: "Ctrl-C ends it" in self.read(), "the trial")
        except BaseException:
            self.end()
            raise

    def read(self) -> str:
        with contextlib.suppress(BlockingIOError):
            self.said += os.read(self._terminal, 1 << 16).decode()
        return self.said

    def get(self, url: str) -> int:
        done = subprocess.run(
            ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "-x",
             f"127.0.0.1:{self.port}", url],
            capture_output=True, check=False, timeout=60,
        )  # fmt: skip
        return int(done.stdout)

    def close_terminal(self) -> None:
        os.close(self._terminal)

    def left(self) -> list[psutil.Process]:
        """Processes that have this trial's folder in their command."""
        return [p for p in psutil.process_iter(["cmdline"]) if self._is_ours(p)]

    def end(self) -> None:
        """Leave nothing behind, whatever the test has found."""
        self.process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(20)
        for process in self.left():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.wait(20)

    def _is_ours(self, process: psutil.Process) -> bool:
        return any(str(self.folder) in word for word in process.info["cmdline"] or ())


@pytest.fixture
def sealed() -> Iterator[Installation]:
    made = Installation()
    made.add("listed", attribute("domain", "listed.example"))
    yield made
    made.close()


def test_closed_terminal_ends_squid_and_its_helpers(sealed: Installation) -> None:
    trial = Trial(sealed)
    try:
        assert trial.get("http://listed.example/") == 403
        commands = [" ".join(p.info["cmdline"]) for p in trial.left()]
        for program in ("squid -N", "inkgate-helper", "inkgate-squid-conf"):
            assert any(program in command for command in commands), commands
        # Whoever is Squid's user may hold these, and must not type into root's shell by them.
        proxy = [p for p in trial.left() if p.username() == "proxy"]
        assert [p.terminal() for p in proxy] == [None] * len(proxy)
        trial.close_terminal()
        wait_until(lambda: not trial.left(), "the end of all of it")
        assert trial.process.wait(30) == 0
    finally:
        trial.end()


def test_who_ignores_hang_ups_goes_on(sealed: Installation) -> None:
    trial = Trial(sealed, "env", "--ignore-signal=HUP")
    trial.process.send_signal(signal.SIGHUP)
    try:
        assert trial.get("http://listed.example/") == 403
        assert trial.process.poll() is None
    finally:
        trial.end()
        trial.close_terminal()


def test_trial_says_when_a_new_rule_works(sealed: Installation) -> None:
    trial = Trial(sealed)
    try:
        assert trial.get("http://added.example/") == 200
        sealed.add("more", attribute("domain", "added.example"))
        assert sealed.run("inkgate-rules", "refresh").returncode == 0
        said = r"The new rules work now: \d+, 1 more than before \(serial 2\)\."
        wait_until(lambda: re.search(said, trial.read()), "the line")
        assert trial.get("http://added.example/") == 403
        assert "added.example" not in trial.said
        assert trial.said.count("The new rules work now") == 1
    finally:
        trial.end()
        trial.close_terminal()
