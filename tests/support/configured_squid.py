"""A real Squid with the lines that a test gives it, and an origin that plays all samples."""

from __future__ import annotations

import shutil
import signal
import subprocess
import zlib
from contextlib import suppress
from http.client import HTTPConnection
from pathlib import Path
from typing import Self

from inkgate.squid_conf.minimal import minimal
from inkgate.squid_conf.origin import start_origin
from inkgate.squid_conf.trial import SQUID_USER
from support.installation import Installation
from support.squid import Reply, free_port
from support.waiting import wait_until

SQUID = shutil.which("squid", path="/usr/sbin:/usr/bin")


class ConfiguredSquid:
    """Starts a Squid with lines of squid.conf before its `http_access allow`.

    Args:
        installation: its folder holds the settings, and Squid's own files in `squid/`.
        lines: what stands in squid.conf besides the least that Squid needs.
    """

    def __init__(self, installation: Installation, lines: str) -> None:
        self.port = free_port()
        self.folder = installation.folder / "squid"
        self.folder.mkdir()
        (self.folder / "hosts").write_text("127.0.0.1 localhost neighbour.example\n")
        for path in (self.folder, *_owned_by_squid(installation)):
            shutil.chown(path, SQUID_USER, SQUID_USER)
        # Squid's log daemon would write to the folder of the system's Squid.
        lines = lines.replace("daemon:/var/log/squid/", f"stdio:{self.folder}/")
        conf = installation.folder / "squid.conf"
        conf.write_text(
            minimal(
                port=self.port,
                folder=self.folder,
                fragment=lines,
                user=SQUID_USER,
                origin=start_origin(),
            )
        )
        service = f"inkgate{zlib.crc32(bytes(self.folder)):08x}"
        self.process = subprocess.Popen([str(SQUID), "-N", "-f", str(conf), "-n", service])
        wait_until(self._answers, f"Squid on port {self.port}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)

    def get(self, url: str) -> Reply:
        """Ask for a URL as a client of a proxy does."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request("GET", url)
            reply = connection.getresponse()
            body = reply.read().decode("utf-8", "replace")
            return Reply(reply.status, body, reply.headers["X-Squid-Error"])
        finally:
            connection.close()

    def _answers(self) -> bool:
        log = self.folder / "cache.log"
        said = log.read_text() if log.exists() else ""
        assert self.process.poll() is None, f"Squid did not start: {said}"
        with suppress(OSError):
            self.get("http://neighbour.example/")
            return True
        return False


def _owned_by_squid(installation: Installation) -> list[Path]:
    run = installation.folder / "run"
    return [run, *run.rglob("*")]
