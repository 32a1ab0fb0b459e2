"""A helper process that counts its derivations, and Squid's end of it."""

from __future__ import annotations

import itertools
import subprocess
import time
from pathlib import Path

from support.installation import BIN, Installation

_NUMBERS = itertools.count()


def request(number: int, url: str, server: str = "-", agent: str = "-") -> bytes:
    return f"{number} GET {url} 192.0.2.1 {server} {agent} -\n".encode()


class HelperProcess:
    """Start one with an installation's settings; end it with `close`."""

    def __init__(self, installation: Installation, *options: str) -> None:
        self._log = installation.folder / f"derivations-{next(_NUMBERS)}"
        self.process = subprocess.Popen(
            [
                BIN / "python",
                Path(__file__).with_name("counting_helper.py"),
                self._log,
                "--config",
                installation.config,
                *options,
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    @property
    def derivations(self) -> int:
        """How many it has made so far."""
        return self._log.stat().st_size if self._log.exists() else 0

    def send(self, *lines: bytes) -> None:
        assert self.process.stdin
        self.process.stdin.write(b"".join(lines))
        self.process.stdin.flush()

    def read(self) -> bytes:
        """The next answer, without its newline."""
        assert self.process.stdout
        return self.process.stdout.readline().rstrip(b"\n")

    def ask(self, *urls: str) -> list[bytes]:
        """The verdicts for some URLs, all sent at once, in their order."""
        self.send(*(request(n, url) for n, url in enumerate(urls)))
        answers = [self.read().split(b" ") for _ in urls]
        verdicts = {int(answer[0]): answer[1] for answer in answers}
        return [verdicts[n] for n in range(len(urls))]

    def wait_for(self, url: str, verdict: bytes, seconds: float = 15) -> None:
        """Ask until the verdict is this one."""
        end = time.monotonic() + seconds
        while self.ask(url) != [verdict]:
            assert time.monotonic() < end, f"{url} is not {verdict.decode()}"
            time.sleep(0.05)

    def close(self) -> str:
        """End its input, and return what it said on standard error."""
        _, said = self.process.communicate(timeout=60)
        return said.decode()
