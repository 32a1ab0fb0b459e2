"""A real Squid with a squid.conf as an administrator has it, for `inkgate squid`."""

from __future__ import annotations

import shutil
import signal
import subprocess
import zlib
from http.client import HTTPConnection
from pathlib import Path
from typing import Final, Self

from inkgate.squid_conf.trial import SQUID_USER
from support.installation import Installation
from support.squid import Reply, free_port, wait_until_listening
from support.waiting import wait_until

SQUID: Final = shutil.which("squid", path="/usr/sbin:/usr/bin")

# What stands between the lines that refuse and those that allow, on Debian 12 and 13.
ACCESS: Final = """\
http_access deny !Safe_ports
http_access deny CONNECT !SSL_ports
http_access allow localhost manager
http_access deny manager
include {etc}/conf.d/*.conf
http_access allow localhost
http_access deny all
"""


class PlacedSquid:
    """A folder like /etc/squid, and a Squid that reads it.

    Args:
        installation: its folder holds the settings and Squid's own files.
        access: the access lines; `{etc}` stands for the configuration's folder.
        ports: `http_port` lines that come besides the first.
    """

    def __init__(self, installation: Installation, access: str = ACCESS, *ports: str) -> None:
        self.installation = installation
        self.port = free_port()
        self.etc = installation.folder / "etc"
        self.conf = self.etc / "squid.conf"
        self.fragment = self.etc / "inkgate.conf"
        self.folder = installation.folder / "squid"
        for folder in (self.etc, self.etc / "conf.d", self.folder):
            folder.mkdir(mode=0o755)
        (self.etc / "conf.d" / "debian.conf").write_text("logfile_rotate 0\n")
        (self.folder / "hosts").write_text("127.0.0.1 localhost\n")
        for path in (self.folder, *_run(installation)):
            shutil.chown(path, SQUID_USER, SQUID_USER)
        self.conf.write_text(self._text(access, ports))
        self.conf.chmod(0o640)
        configure_squid(
            installation,
            'launcher = "launcher"\ncheck_result = "squid-check.json"\n'
            'tunnels = "squid/tunnels.log"\nbypasses = "squid/bypasses.log"',
        )
        self.process: subprocess.Popen[bytes] | None = None

    def _text(self, access: str, ports: tuple[str, ...]) -> str:
        here = self.folder
        return "\n".join(
            [
                f"http_port 127.0.0.1:{self.port}",
                *(f"http_port {port}" for port in ports),
                f"pid_filename {here}/squid.pid",
                f"cache_log {here}/cache.log",
                f"access_log stdio:{here}/access.log",
                f"coredump_dir {here}",
                f"hosts_file {here}/hosts",
                # Names that are nowhere shall be so at once.
                "dns_nameservers 127.0.0.1",
                "dns_timeout 1 seconds",
                "dns_retransmit_interval 1 seconds",
                f"cache_effective_user {SQUID_USER}",
                "visible_hostname placed",
                "cache deny all",
                "pinger_enable off",
                "netdb_filename none",
                "shutdown_lifetime 1 seconds",
                "acl SSL_ports port 443",
                "acl Safe_ports port 80 443 1025-65535",
                access.format(etc=self.etc),
            ]
        )

    def start(self) -> None:
        """Start it, and wait until it listens."""
        assert SQUID
        log = self.folder / "cache.log"
        before = _listening(log)
        service = f"inkgate{zlib.crc32(bytes(self.folder)):08x}"
        how = "--foreground" if "\nworkers " in self.conf.read_text() else "-N"
        self.process = subprocess.Popen([SQUID, how, "-f", self.conf, "-n", service])
        wait_until_listening(self.process, self.port, log)
        # The first of several workers takes connections before the others do.
        workers = 2 if how == "--foreground" else 1
        wait_until(lambda: _listening(log) >= before + workers, "all workers listen")

    def start_if_ended(self) -> None:
        """As its supervisor does, which `-N` leaves out.

        Squid 5.7 ends at times, by an assertion, while an ICAP server with bypass=on is down.
        """
        if self.process is not None and self.process.poll() is not None:
            self.start()

    def stop(self) -> None:
        """End it, if it runs."""
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(60)
            self.process = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def inkgate(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run `inkgate squid …` for this Squid."""
        return self.installation.run("inkgate", "squid", *words, "--squid-conf", str(self.conf))

    def install(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run `inkgate squid install`, without a word to Squid if it does not run."""
        quiet = () if self.process else ("--no-reload",)
        done = self.inkgate("install", *quiet, *words)
        assert done.returncode == 0, (done.stdout, done.stderr)
        return done

    def edit(self, old: str, new: str) -> None:
        """Change squid.conf by hand."""
        text = self.conf.read_text()
        old, new = old.format(etc=self.etc), new.format(etc=self.etc)
        assert text.count(old) == 1, (old, text)
        self.conf.write_text(text.replace(old, new))

    def get(self, url: str) -> Reply:
        """Ask for a URL as a client of a proxy does."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request("GET", url)
            reply = connection.getresponse()
            return Reply(reply.status, reply.read().decode("utf-8", "replace"))
        finally:
            connection.close()


def _listening(log: Path) -> int:
    """How often a worker has said that it takes connections."""
    return log.read_text().count("Accepting HTTP Socket connections") if log.exists() else 0


def configure_squid(installation: Installation, lines: str) -> None:
    """Add lines to the section [squid_conf]."""
    text = installation.config.read_text().replace("[squid_conf]", f"[squid_conf]\n{lines}")
    installation.config.write_text(text)


def _run(installation: Installation) -> list[Path]:
    run = installation.folder / "run"
    return [run, *run.rglob("*")]
