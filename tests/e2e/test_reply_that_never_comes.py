"""Requests for what is listed are judged when they come, whether or not a server answers."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator

import pytest

from support.icap_squid import IcapSquid
from support.installation import Installation, attribute
from support.squid import INCIDENT
from support.waiting import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

# How a client asks for what is listed, and which rule it is.
ASKED = {
    "domain": b"GET http://listed.example/%d HTTP/1.1\r\nHost: listed.example\r\n\r\n",
    "url": b"GET http://fine.example/bad?%d HTTP/1.1\r\nHost: fine.example\r\n\r\n",
    "ip-dst": b"GET http://192.0.2.9/%d HTTP/1.1\r\nHost: 192.0.2.9\r\n\r\n",
    "user-agent": b"GET http://fine.example/%d HTTP/1.1\r\nUser-Agent: EvilBot/1.0\r\n\r\n",
}
CLEAN = b"GET http://fine.example/%d HTTP/1.1\r\nHost: fine.example\r\n\r\n"


class SilentOrigin:
    """A server that takes connections and never answers."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=50)
        self._listening.settimeout(30)
        self.port = int(self._listening.getsockname()[1])

    def asked_for(self) -> bytes:
        """The beginning of the next request that comes here."""
        while True:
            connected, _ = self._listening.accept()
            with connected:
                connected.settimeout(30)
                # Squid probes a peer at its start.
                if data := connected.recv(65_536):
                    return data

    def close(self) -> None:
        self._listening.close()


@pytest.fixture(scope="module", params=["helper", "icap"])
def squid(request: pytest.FixtureRequest) -> Iterator[tuple[IcapSquid, Installation, SilentOrigin]]:
    installation = Installation()
    installation.add(
        "listed",
        attribute("domain", "listed.example"),
        attribute("url", "http://fine.example/bad"),
        attribute("ip-dst", "192.0.2.9"),
        attribute("user-agent", "EvilBot/1.0"),
    )
    installation.refresh()
    origin = SilentOrigin()
    started = IcapSquid(installation, is_helper=request.param == "helper", origin=origin)
    yield started, installation, origin
    started.close()
    installation.close()


def journalled(installation: Installation) -> int:
    done = installation.run("inkgate-sightings", "list", "--json")
    return len([json.loads(line) for line in done.stdout.splitlines()])


@pytest.mark.parametrize("kind", ASKED)
def test_listed_request_is_refused_and_journalled_before_a_server_is_asked(
    squid: tuple[IcapSquid, Installation, SilentOrigin], kind: str
) -> None:
    server, installation, origin = squid
    with socket.create_connection(("127.0.0.1", server.port), 30) as client:
        client.sendall(ASKED[kind] % 1)
        page = b""
        while not (found := INCIDENT.search(page.decode("latin-1"))):
            data = client.recv(65_536)
            assert data, page
            page += data
    assert page.startswith(b"HTTP/1.1 403 ")
    assert installation.sightings(found[0])
    # The first one that the server hears of.
    with socket.create_connection(("127.0.0.1", server.port), 30) as client:
        client.sendall(CLEAN % 2)
        assert origin.asked_for().startswith(b"GET /2 ")


def test_client_that_breaks_off_at_once_opens_no_way_to_a_server(
    squid: tuple[IcapSquid, Installation, SilentOrigin], request: pytest.FixtureRequest
) -> None:
    server, installation, origin = squid
    before = journalled(installation)
    for number in range(5):
        with socket.create_connection(("127.0.0.1", server.port), 30) as client:
            client.sendall(ASKED["url"] % number)
    with socket.create_connection(("127.0.0.1", server.port), 30) as client:
        client.sendall(CLEAN % 3)
        assert origin.asked_for().startswith(b"GET /3 ")
    # Over ICAP Squid withdraws such a message, mostly before it has sent it.
    if "helper" in request.node.name:
        wait_until(lambda: journalled(installation) > before, "the journal")
