"""Squid's end of a helper's pipe: requests in batches, answers in any order."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

Command = list[str | Path]
_PIPE_BYTES = 1 << 18

AGENTS = [
    b"Mozilla/5.0%20(X11;%20Linux%20x86_64;%20rv:128.0)%20Gecko/20100101%20Firefox/128.0",
    b"Mozilla/5.0%20(Windows%20NT%2010.0;%20Win64;%20x64)%20AppleWebKit/537.36",
    b"curl/8.5.0",
]


def our_line(number: int, host: bytes) -> bytes:
    """A request as our fragment makes Squid write it."""
    agent = AGENTS[number % len(AGENTS)]
    return b"%d GET http://%b/a/path?x=%d 192.0.2.1 - %b -\n" % (number, host, number, agent)


def squidguard_line(number: int, host: bytes) -> bytes:
    """The same request as squidGuard wants it (url_rewrite with an ID)."""
    return b"%d http://%b/a/path?x=%d 192.0.2.1/- - GET\n" % (number, host, number)


class Helper:
    """A running helper."""

    def __init__(self, command: Command) -> None:
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert self.process.stdin
        assert self.process.stdout
        self._in = self.process.stdin.fileno()
        self._out = self.process.stdout.fileno()
        # A batch and its answers fit in, so that no helper waits for us while we write.
        for fd in (self._in, self._out):
            fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)

    def exchange(self, lines: Sequence[bytes], batch: int) -> float:
        """Send so many lines at a time and wait for their answers; returns the seconds."""
        started = time.perf_counter()
        for start in range(0, len(lines), batch):
            part = lines[start : start + batch]
            _write_all(self._in, b"".join(part))
            wanted = len(part)
            while wanted > 0:
                wanted -= os.read(self._out, 1 << 16).count(b"\n")
        return time.perf_counter() - started

    def send(self, data: bytes) -> None:
        _write_all(self._in, data)

    def read(self) -> bytes:
        return os.read(self._out, 1 << 16)

    def close(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait()


def squidguard(folder: Path, domains: Sequence[str], urls: Sequence[str]) -> Command | None:
    """A squidGuard with lists in clear (Berkeley DB), or None if it is not installed."""
    program = shutil.which("squidGuard", path="/usr/bin:/usr/sbin")
    if program is None:
        return None
    (folder / "domains").write_text("".join(f"{name}\n" for name in domains))
    (folder / "urls").write_text("".join(f"{url}\n" for url in urls))
    conf = folder / "squidGuard.conf"
    conf.write_text(
        f"dbhome {folder}\nlogdir {folder}\n"
        "dest listed {\n domainlist domains\n urllist urls\n}\n"
        "acl {\n default {\n  pass !listed all\n  redirect http://blocked.example/\n }\n}\n"
    )
    subprocess.run([program, "-c", conf, "-C", "all"], check=True, capture_output=True)
    return [program, "-c", conf]


def _write_all(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]
