"""A tunnel by name to a listed address passes, and is journalled by `inkgate squid tunnels`."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator

import pytest

from support.installation import BIN, Installation, attribute
from support.placed_squid import ACCESS, SQUID, PlacedSquid
from support.status import status
from support.waiting import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.skipif(SQUID is None, reason="squid is missing")]


@pytest.fixture
def server() -> Iterator[int]:
    """The port of a server at 127.0.0.66, that says hello to whoever connects."""
    with socket.create_server(("127.0.0.66", 0)) as listening:

        def serve() -> None:
            while True:
                try:
                    client, _ = listening.accept()
                except OSError:
                    return
                with client:
                    client.sendall(b"hello")

        threading.Thread(target=serve, daemon=True).start()
        yield listening.getsockname()[1]


@pytest.fixture
def squid(installation: Installation, server: int) -> Iterator[PlacedSquid]:
    """A Squid as `inkgate squid install` leaves it; names lead to the server."""
    installation.add(
        "listed", attribute("ip-dst", "127.0.0.66"), attribute("domain", "listed.example")
    )
    installation.refresh()
    placed = PlacedSquid(installation, f"acl SSL_ports port {server}\n{ACCESS}")
    (placed.folder / "hosts").write_text(
        "127.0.0.1 localhost\n127.0.0.66 clean.example listed.example\n"
    )
    placed.install()
    with placed:
        placed.start()
        yield placed


def tunnel(squid: PlacedSquid, target: str) -> tuple[int, bytes]:
    """Status of a CONNECT, and what the server said."""
    with socket.create_connection(("127.0.0.1", squid.port), 60) as client:
        client.sendall(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
        file = client.makefile("rb")
        code = int(file.readline().split()[1])
        while file.readline().strip():
            pass
        return code, file.read() if code == 200 else b""


def logged(squid: PlacedSquid) -> str:
    path = squid.folder / "tunnels.log"
    return path.read_text() if path.exists() else ""


def journalled(installation: Installation) -> list[dict[str, str]]:
    done = installation.run("inkgate-sightings", "list", "--json")
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_tunnel_by_name_to_a_listed_address_is_journalled_once(
    installation: Installation, squid: PlacedSquid, server: int
) -> None:
    assert tunnel(squid, f"clean.example:{server}") == (200, b"hello")
    assert tunnel(squid, f"listed.example:{server}")[0] == 403
    wait_until(lambda: logged(squid).count("\n") == 2, "both lines in the log of tunnels")
    found = status(installation)
    assert found.level("tunnels") == 1
    wait_until(lambda: journalled(installation), "the refused tunnel in the journal")
    assert [s["class"] for s in journalled(installation)] == ["domain"]
    for _ in range(2):
        done = installation.run("inkgate", "squid", "tunnels", "--until-idle")
        assert (done.returncode, done.stdout) == (0, ""), done.stderr
        assert "clean.example" not in done.stderr
        sightings = journalled(installation)
        assert sorted(s["class"] for s in sightings) == ["domain", "ip-dst"]
    (seen,) = (s for s in sightings if s["class"] == "ip-dst")
    assert (seen["method"], seen["client"]) == ("CONNECT", "127.0.0.1")
    # It passed, and whoever reads the journal is not to believe that it was stopped.
    assert {s["class"]: s["action"] for s in sightings} == {"domain": "block", "ip-dst": "log"}


def test_service_goes_on_over_a_rotation_of_squids(
    installation: Installation, squid: PlacedSquid, server: int
) -> None:
    service = subprocess.Popen(
        [BIN / "inkgate", "--config", installation.config, "squid", "tunnels"],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        tunnel(squid, f"clean.example:{server}")
        wait_until(lambda: len(journalled(installation)) == 1, "the first tunnel")
        assert status(installation).level("tunnels") == 0
        log = squid.folder / "tunnels.log"
        log.rename(log.with_suffix(".log.1"))
        tunnel(squid, f"clean.example:{server}")
        assert squid.process
        squid.process.send_signal(signal.SIGUSR1)
        wait_until(log.exists, "Squid's new log")
        tunnel(squid, f"clean.example:{server}")
        wait_until(lambda: len(journalled(installation)) == 3, "all three tunnels")
    finally:
        service.terminate()
        assert service.wait(60) == 0
