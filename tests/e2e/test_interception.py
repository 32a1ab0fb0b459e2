"""Connections that a Squid takes over (TPROXY): their port counts, whatever Host says."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from inkgate.blocked_page.settings import SquidSettings
from inkgate.icap_server.settings import IcapSettings
from inkgate.squid_conf.check import SQUID_USER
from inkgate.squid_conf.fragment import fragment
from inkgate.squid_conf.icap import icap_fragment
from inkgate.squid_conf.minimal import minimal
from support.icap_squid import SQUID, launching_of
from support.installation import BIN, Installation, attribute
from support.namespaces import SERVER, Networks, lacking
from support.squid import INCIDENT, free_port
from support.waiting import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

_ORIGIN = """\
import http.server, threading
for port in (8080, 8081):
    server = http.server.ThreadingHTTPServer(("", port), http.server.SimpleHTTPRequestHandler)
    threading.Thread(target=server.serve_forever).start()
"""
_NAMES = ("fine.example", "named.example")
_TAKEN_OVER = "http_port 8080 tproxy\nhttp_port 8081 tproxy\nhttp_access deny !taken"


class Intercepting:
    """A Squid between a client and a web server, who know nothing of it."""

    def __init__(self, installation: Installation, front_end: str) -> None:
        self.folder = installation.folder / "squid"
        self.folder.mkdir()
        self.folder.chmod(0o777)
        (self.folder / "hosts").write_text(f"{SERVER} {' '.join(_NAMES)}\n")
        self.networks = Networks()
        self._processes: list[subprocess.Popen[bytes]] = []
        try:
            self._start("server", sys.executable, "-c", _ORIGIN)
            lines = (
                self._helper(installation) if front_end == "helper" else self._icap(installation)
            )
            self._start(
                "proxy", SQUID, "-N", "-f", self._configure(lines), "-n", f"ig{free_port()}"
            )
            wait_until(lambda: self.get(8081, "fine.example")[0] == 200, "Squid")
        except BaseException:
            self.close()
            raise

    def _configure(self, lines: str) -> Path:
        conf = self.folder / "squid.conf"
        text = minimal(
            port=free_port(), folder=self.folder, fragment=lines, user=SQUID_USER, origin=None
        )
        text = text.replace("http_access deny !localhost", f"acl taken src all\n{_TAKEN_OVER}")
        text = text.replace("http_access allow localhost", "http_access allow taken")
        conf.write_text(f"{text}hosts_file {self.folder}/hosts\n")
        return conf

    def _helper(self, installation: Installation) -> str:
        shown = SquidSettings(ttl=2, negative_ttl=2)
        pages = installation.folder / "pages"
        return fragment(shown, launching=launching_of(installation), pages=pages, log="")

    def _icap(self, installation: Installation) -> str:
        with installation.config.open("a") as file:
            file.write("\n[icap]\nworkers = 1\n")
        log = installation.folder / "icap.log"
        with log.open("wb") as errors:
            words = (BIN / "inkgate-icap", "--config", installation.config)
            self._start("proxy", *words, stderr=errors)
        wait_until(lambda: "listening on" in log.read_text(), "inkgate-icap")
        settings = IcapSettings()
        return icap_fragment(
            service=settings.service,
            fail="open",
            server_header=settings.server_header,
            name_header=settings.name_header,
            log="",
        )

    def _start(self, network: str, *words: object, stderr: object = subprocess.DEVNULL) -> None:
        command = self.networks.command(network, *words)
        self._processes.append(subprocess.Popen(command, stderr=stderr))  # type: ignore[call-overload]

    def get(self, port: int, host: str) -> tuple[int, str]:
        """Status and page for a connection to a port with a Host header."""
        words = ("curl", "-sm30", "-w", "\n%{http_code}", "-H", f"Host: {host}")
        command = self.networks.command("client", *words, f"http://{SERVER}:{port}/")
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        page, _, status = done.stdout.rpartition("\n")
        return int(status), page

    def close(self) -> None:
        for process in reversed(self._processes):
            process.send_signal(signal.SIGTERM)
            process.wait(60)
        self.networks.close()


@pytest.fixture(params=["helper", "icap"])
def squid(request: pytest.FixtureRequest) -> Iterator[Intercepting]:
    if why := lacking():
        pytest.skip(why)
    installation = Installation()
    installation.add(
        "listed",
        attribute("ip-dst|port", f"{SERVER}|8080"),
        attribute("hostname|port", "named.example|8081"),
    )
    installation.refresh()
    started = Intercepting(installation, request.param)
    yield started
    started.close()
    installation.close()


def test_port_of_the_connection_counts_where_host_has_another_or_none(squid: Intercepting) -> None:
    for host in (
        "fine.example",
        "fine.example:9999",
        SERVER,
        f"{SERVER}:9999",
        "fine.example:8080",
    ):
        status, page = squid.get(8080, host)
        assert (status, bool(INCIDENT.search(page))) == (403, True), host
    # Twice: the first one is remembered.
    for host in ("named.example", "named.example:80", "named.example"):
        status, page = squid.get(8081, host)
        assert (status, bool(INCIDENT.search(page))) == (403, True), host
    # `fine.example:8080` led to the listed address and port a moment ago, and is remembered.
    for host in ("fine.example", SERVER):
        assert squid.get(8081, host)[0] == 200, host
