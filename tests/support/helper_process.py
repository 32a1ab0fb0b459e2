"""A helper process that counts its derivations, and Squid's end of it."""

from __future__ import annotations

import os
import select
import subprocess
from contextlib import AbstractContextManager
from pathlib import Path

from support.counts import Counts
from support.installation import BIN, Installation
from support.waiting import wait_until

_PATIENCE_SECONDS = 60


def request(number: int, url: str, server: str = "-", agent: str = "-") -> bytes:
    return f"{number} GET {url} 192.0.2.1 {server} {agent} -\n".encode()


class HelperProcess:
    """Start one with an installation's settings; end it with `close`."""

    def __init__(self, installation: Installation, *options: str) -> None:
        self.counts = Counts(installation.folder)
        self._unread = b""
        self.process = subprocess.Popen(
            [
                BIN / "python",
                Path(__file__).with_name("counted.py"),
                "helper",
                self.counts.path,
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
        return self.counts.derivations

    def held(self) -> AbstractContextManager[None]:
        """No derivation begins before the end of this, however quick the machine is."""
        return self.counts.held()

    def send(self, *lines: bytes) -> None:
        assert self.process.stdin
        self.process.stdin.write(b"".join(lines))
        self.process.stdin.flush()

    def read(self) -> bytes:
        """The next answer, without its newline."""
        assert self.process.stdout
        fd = self.process.stdout.fileno()
        while b"\n" not in self._unread:
            assert select.select([fd], [], [], _PATIENCE_SECONDS)[0], "no answer comes"
            data = os.read(fd, 1 << 16)
            assert data, "the helper has ended"
            self._unread += data
        line, _, self._unread = self._unread.partition(b"\n")
        return line

    def ask(self, *urls: str) -> list[bytes]:
        """The verdicts for some URLs, all sent at once, in their order."""
        self.send(*(request(n, url) for n, url in enumerate(urls)))
        answers = [self.read().split(b" ") for _ in urls]
        verdicts = {int(answer[0]): answer[1] for answer in answers}
        return [verdicts[n] for n in range(len(urls))]

    def wait_for(self, url: str, verdict: bytes) -> None:
        """Ask until the verdict is this one."""
        wait_until(lambda: self.ask(url) == [verdict], f"{verdict.decode()} for {url}")

    def end(self) -> tuple[bytes, str]:
        """End its input; the answers that nobody has read, and its standard error."""
        out, said = self.process.communicate(timeout=_PATIENCE_SECONDS)
        return self._unread + out, said.decode()

    def close(self) -> str:
        """End its input, and return what it said on standard error."""
        return self.end()[1]

    def kill(self) -> None:
        """End it at once, whatever it has left to do."""
        self.process.kill()
        self.process.communicate()
