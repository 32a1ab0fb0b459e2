"""Clients that mean harm, or are broken: each gets its answer, and nobody else notices."""

from __future__ import annotations

import random
import select
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest

from support.icap import Icap, chunked, http_request, occupy, options, read_answer, reqmod
from support.installation import Installation, attribute
from support.waiting import wait_until

POST = http_request("http://fine.example/form", "POST")


@pytest.fixture(scope="module")
def icap() -> Iterator[Icap]:
    installation = Installation()
    installation.add("listed", attribute("domain", "listed.example"))
    installation.refresh()
    limits = "header_seconds = 1\nbody_seconds = 1\nidle_seconds = 30\nconnections = 1200\n"
    started = Icap(installation, limits)
    yield started
    started.close()
    installation.close()


@pytest.fixture(autouse=True)
def others_are_served_as_before(icap: Icap) -> Iterator[None]:
    yield
    assert icap.ask(reqmod(http_request("http://listed.example/"))).http_status == 403
    assert icap.ask(reqmod(http_request())).status == 204
    assert "Traceback" not in icap.log
    assert "failed" not in icap.log


def closed(client: socket.socket, seconds: float = 30) -> bool:
    client.settimeout(seconds)
    try:
        while client.recv(65536):
            pass
    except ConnectionError:
        pass
    return True


@pytest.mark.slow
def test_slow_headers_end_with_408(icap: Icap) -> None:
    with icap.connect() as client:
        started = time.monotonic()
        for byte in reqmod(http_request()) * 9:
            client.send(bytes([byte]))
            if select.select([client], [], [], 0.02)[0]:
                break
        assert read_answer(client).status == 408
        assert time.monotonic() - started > 0.9
        assert closed(client)


@pytest.mark.slow
def test_many_slow_headers_end_with_408_and_others_are_served_meanwhile(icap: Icap) -> None:
    with ExitStack() as stack:
        clients = [stack.enter_context(icap.connect()) for _ in range(200)]
        for client in clients:
            client.send(b"REQMOD icap://127.0.0.1/reqmod ICAP/1.0\r\nX-")
        while not select.select(clients[-1:], [], [], 0)[0]:
            assert icap.ask(reqmod(http_request())).status == 204
        for client in clients:
            assert read_answer(client).status == 408


@pytest.mark.slow
def test_slow_body_ends_with_408(icap: Icap) -> None:
    with icap.connect() as client:
        client.sendall(reqmod(POST, b"5\r\nab"))
        assert read_answer(client).status == 408
        assert closed(client)


@pytest.mark.slow
def test_endless_headers_are_cut_off(icap: Icap) -> None:
    before = icap.memory_kib()
    with icap.connect() as client:
        client.sendall(b"REQMOD icap://icap.test/reqmod ICAP/1.0\r\n")
        try:
            for number in range(1_000_000):
                client.sendall(b"X-%d: %d\r\n" % (number, number))
        except ConnectionError:
            pass
        else:
            raise AssertionError("all of it was read")
    assert icap.memory_kib() - before < 20_000


@pytest.mark.parametrize(
    "body",
    [
        b"3\r\nabcd\r\n0\r\n\r\n",
        b"5\r\nabc\r\n0\r\n\r\n",
        b"-1\r\nabc\r\n0\r\n\r\n",
        b"+1\r\na\r\n0\r\n\r\n",
        b"0x1\r\na\r\n0\r\n\r\n",
        b"0_1\r\na\r\n0\r\n\r\n",
        b" 1\r\na\r\n0\r\n\r\n",
        b"\r\na\r\n0\r\n\r\n",
        b"ffffffffffffffff\r\na",
        b"1" * 2000,
        b"1;" + b"x" * 2000,
        b"1\na\n0\n\n\r\n",
        b"0\r\nno trailer\r\n\r\n",
        b"0\r\n" + b"X: y\r\n" * 10_000 + b"\r\n",
    ],
    ids=lambda body: repr(body[:16]),
)
def test_lying_chunk_sizes_are_refused(icap: Icap, body: bytes) -> None:
    with icap.connect() as client:
        client.sendall(reqmod(POST, body))
        assert read_answer(client).status == 400
        assert closed(client)


@pytest.mark.slow
def test_huge_chunk_costs_no_memory(icap: Icap) -> None:
    before = icap.memory_kib()
    with icap.connect() as client:
        client.sendall(reqmod(POST, b"fffffffffffffff\r\n"))
        for _ in range(256):
            client.sendall(bytes(65536))
        assert icap.memory_kib() - before < 20_000
        assert read_answer(client).status == 408


def test_trailers_are_read_and_dropped(icap: Icap) -> None:
    with icap.connect() as client:
        for _ in range(2):
            body = b"3\r\nabc\r\n0\r\nX-Checksum: 1\r\nX-More: 2\r\n\r\n"
            client.sendall(reqmod(POST, body, allow=""))
            assert read_answer(client).body == b"abc"


def test_garbage_after_ieof_is_refused(icap: Icap) -> None:
    with icap.connect() as client:
        client.sendall(reqmod(POST, b"0; ieof\r\n\r\n5\r\nabcde\r\n0\r\n\r\n", preview=0))
        assert read_answer(client).status == 204
        assert closed(client)


def test_half_closed_socket_still_gets_its_answer(icap: Icap) -> None:
    for message in (reqmod(http_request()), reqmod(POST, chunked(b"x" * 9)), options("reqmod")):
        with icap.connect() as client:
            client.sendall(message)
            client.shutdown(socket.SHUT_WR)
            assert read_answer(client).status in (200, 204)
            assert closed(client)


def test_client_that_leaves_in_the_middle_is_forgotten(icap: Icap) -> None:
    message = reqmod(POST, chunked(b"x" * 100_000))
    for cut in range(1, len(message), 997):
        with icap.connect() as client:
            client.sendall(message[:cut])


def test_thousand_idle_connections_disturb_nobody(icap: Icap) -> None:
    before = icap.memory_kib()
    with ExitStack() as stack:
        idle = [stack.enter_context(icap.connect()) for _ in range(1000)]
        for number in range(0, 1000, 2):
            idle[number].sendall(b"REQMOD icap://ica")
        with icap.connect() as client:
            for _ in range(100):
                client.sendall(reqmod(http_request()))
                assert read_answer(client).status == 204
        assert icap.memory_kib() - before < 60_000


@pytest.mark.slow
def test_connections_above_the_cap_make_room_for_each_other() -> None:
    installation = Installation()
    installation.add("listed", attribute("domain", "listed.example"))
    installation.refresh()
    server = Icap(installation, "connections = 20\n")
    try:
        with ExitStack() as stack:
            idle = [stack.enter_context(server.connect()) for _ in range(60)]
            # A quarter of what is left when some are kept for OPTIONS.
            assert server.ask(options("reqmod")).fields["max-connections"] == "3"
            assert server.ask(options("respmod")).fields["max-connections"] == "9"
            for client in idle[:40]:
                assert closed(client)
            idle[-1].sendall(reqmod(http_request()))
            assert read_answer(idle[-1]).status == 204
        with ExitStack() as stack:
            for _ in range(20):
                occupy(server, stack)
            with server.connect() as client:
                assert read_answer(client).status == 503
    finally:
        server.close()
        installation.close()


@pytest.mark.slow
def test_reader_that_never_reads_is_given_up(icap: Icap) -> None:
    before = icap.memory_kib()
    with icap.connect() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(5)
        body = chunked(bytes(8_000_000), 65536)
        with pytest.raises((ConnectionError, TimeoutError)):
            client.sendall(reqmod(POST, body, allow="") * 4)
        assert icap.memory_kib() - before < 30_000


def test_strangers_are_turned_away() -> None:
    installation = Installation()
    server = Icap(installation)
    try:
        assert server.ask(options("reqmod")).status == 200
        text = installation.config.read_text()
        installation.config.write_text(text + 'allow = ["192.0.2.0/24"]\n')
        server.process.send_signal(1)

        def is_turned_away() -> bool:
            with server.connect() as client, suppress(OSError):
                client.sendall(options("reqmod"))
                client.recv(1)
            return "not among [icap] allow" in server.log

        wait_until(is_turned_away, "a line about a stranger")
    finally:
        server.close()
        installation.close()


def mutate(choose: random.Random, message: bytes) -> bytes:
    data = bytearray(message)
    for _ in range(choose.randrange(1, 6)):
        at = choose.randrange(len(data) + 1)
        kind = choose.randrange(5)
        if kind == 0:
            data[at:at] = bytes(choose.randrange(256) for _ in range(choose.randrange(1, 9)))
        elif kind == 1:
            del data[at : at + choose.randrange(1, 30)]
        elif kind == 2 and at < len(data):
            data[at] = choose.randrange(256)
        elif kind == 3:
            data[at:at] = choose.choice([b"\r\n", b"\r\n\r\n", b":", b"0\r\n\r\n", b"=", b","])
        else:
            data[at:at] = data[at : at + choose.randrange(60)]
    return bytes(data)


def test_fuzzed_messages_over_sockets_leave_the_server_as_it_was(icap: Icap) -> None:
    choose = random.Random(3)
    seeds = [
        reqmod(http_request()),
        reqmod(POST, chunked(b"hello"), allow=""),
        reqmod(POST, b"0\r\n\r\n", preview=0),
        options("reqmod"),
    ]
    before = icap.memory_kib()
    for _ in range(1500):
        with icap.connect() as client:
            client.sendall(mutate(choose, choose.choice(seeds)))
            client.shutdown(socket.SHUT_WR)
            assert closed(client)
    assert icap.memory_kib() - before < 20_000
    assert len(icap.workers()) == 1
