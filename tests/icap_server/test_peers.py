"""Of this machine only Squid's user may ask the ICAP server."""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from inkgate.icap_server.peers import Peers
from support.icap import Icap, http_request, options, reqmod
from support.installation import Installation, attribute
from support.status import status
from support.waiting import wait_until

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")

ALLOWED, NOBODY = "proxy", "nobody"
# A client of its own user: connects, sends what comes on its input, prints what it gets.
CLIENT = """
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2])), 20) as client:
    client.sendall(sys.stdin.buffer.read())
    client.settimeout(20)
    try:
        print(client.recv(100).decode("latin-1"))
    except OSError:
        print()
"""


def asked_as(user: str, port: int, data: bytes, host: str = "127.0.0.1") -> str:
    """The first bytes that a user's program gets in answer; empty if it is refused."""
    done = subprocess.run(
        ["/usr/bin/python3", "-c", CLIENT, host, str(port)],
        input=data,
        capture_output=True,
        timeout=60,
        check=False,
        user=user,
        group="nogroup",
        extra_groups=[],
        cwd="/",
        env={},
    )
    return done.stdout.decode().strip()


@pytest.fixture
def listed() -> Iterator[Installation]:
    made = Installation()
    made.add("listed", attribute("domain", "listed.example"))
    made.refresh()
    yield made
    made.close()


def journalled(installation: Installation) -> str:
    return installation.run("inkgate-sightings", "list", "--json").stdout


def test_only_squids_user_gets_answers(listed: Installation) -> None:
    guess = reqmod(http_request("http://listed.example/"))
    server = Icap(listed)
    try:
        for user in (ALLOWED, "root"):
            assert asked_as(user, server.port, guess).startswith("ICAP/1.0 200 OK")
        # An incident is journalled behind its answer.
        wait_until(lambda: len(journalled(listed).splitlines()) == 2, "both to be journalled")
        before = journalled(listed)
        assert asked_as(NOBODY, server.port, guess) == ""
        assert asked_as(NOBODY, server.port, options("reqmod")) == ""
        found = status(listed)
        assert (found.code, found.count("peer-refused")) == (1, 2)
        assert "not among [icap] allow_users" in server.log
        assert journalled(listed) == before
    finally:
        server.close()


def test_users_are_named_in_the_settings(listed: Installation) -> None:
    server = Icap(listed, f'allow_users = ["{NOBODY}", "no-such-user", "4711"]\n')
    try:
        assert asked_as(NOBODY, server.port, options("reqmod")).startswith("ICAP/1.0 200")
        assert asked_as(ALLOWED, server.port, options("reqmod")) == ""
    finally:
        server.close()


@pytest.mark.parametrize(
    ("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")]
)
@pytest.mark.parametrize("is_dual", [False, True])
def test_both_families_and_a_socket_for_both(
    family: socket.AddressFamily, host: str, is_dual: bool
) -> None:
    if is_dual:
        listening = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
    else:
        listening = socket.create_server((host, 0), family=family)
    peers = Peers([ALLOWED])
    with listening, closing(peers):
        port = listening.getsockname()[1]
        for user, refused in ((ALLOWED, False), (NOBODY, True)):
            with subprocess.Popen(
                ["/usr/bin/python3", "-c", CLIENT, host, str(port)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                user=user,
                group="nogroup",
                extra_groups=[],
                cwd="/",
                env={},
            ) as client:
                connected, _ = listening.accept()
                assert bool(peers.refusal(connected)) == refused
                connected.close()
                assert client.stdin
                client.stdin.close()


@pytest.mark.parametrize("sent", [b"", bytes(1 << 22)])
def test_client_that_is_gone_is_not_taken_for_root(sent: bytes) -> None:
    """The kernel says uid 0 of a socket that nobody has open any more. Nobody is refused.

    A proxy closes its sockets when it has waited for too long. What it had sent may still be
    on its way, and its end behind it.
    """
    peers = Peers([])
    with socket.create_server(("127.0.0.1", 0)) as listening, closing(peers):
        with socket.create_connection(listening.getsockname()) as client:
            connected, _ = listening.accept()
            assert peers.refusal(connected) == ""
            client.setblocking(False)
            if sent:
                client.send(sent)
            else:
                client.shutdown(socket.SHUT_WR)
            # It can still read the answer.
            assert peers.refusal(connected) == ""
        with pytest.raises(ConnectionResetError):
            peers.refusal(connected)
        connected.close()


@pytest.mark.slow
def test_connection_that_breaks_off_before_it_is_taken_is_no_refusal() -> None:
    """A proxy does so when its client goes away: nobody was refused anything."""
    installation = Installation()
    installation.add("listed", attribute("domain", "listed.example"))
    installation.refresh()
    server = Icap(installation)
    try:
        (worker,) = server.workers()
        os.kill(worker, signal.SIGSTOP)
        for with_reset in (1, 1, 1, 0, 0, 0):
            with server.connect() as client:
                client.sendall(reqmod(http_request()))
                linger = struct.pack("ii", with_reset, 0)
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        os.kill(worker, signal.SIGCONT)
        assert server.ask(reqmod(http_request())).status == 204
        assert "peer-refused" not in server.log
    finally:
        server.close()
        installation.close()


def test_peer_of_another_machine_is_left_to_its_address() -> None:
    peers = Peers([])
    with closing(peers):

        class Elsewhere:
            def getpeername(self) -> tuple[str, int]:
                return ("192.0.2.77", 40_000)

            def getsockname(self) -> tuple[str, int]:
                return ("192.0.2.1", 1344)

        assert peers.refusal(Elsewhere()) == ""  # type: ignore[arg-type]


def test_asking_the_kernel_costs_little() -> None:
    """Once a connection, far below the milliseconds that would be felt."""
    peers = Peers([])
    with (
        closing(peers),
        socket.create_server(("127.0.0.1", 0)) as listening,
        socket.create_connection(listening.getsockname()),
    ):
        connected, _ = listening.accept()
        began = time.process_time()
        for _ in range(1000):
            assert peers.refusal(connected) == ""
        assert time.process_time() - began < 1.0
        connected.close()
