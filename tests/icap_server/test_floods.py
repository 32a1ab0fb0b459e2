"""What many or slow messages of some clients cost the others, and heads that are odd."""

from __future__ import annotations

import gzip
import hashlib
import os
import socket
import time
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import brotli
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inkgate.health.monitor import unwatched
from inkgate.icap_server.protocol.chunks import LAST_CHUNK
from inkgate.icap_server.shares import Share, Shares
from support.icap import (
    Answer,
    Icap,
    chunked,
    http_request,
    http_response,
    options,
    read_answer,
    reqmod,
    respmod,
)
from support.installation import Installation, attribute
from support.status import status
from support.waiting import wait_until

# A process or several for each test.
pytestmark = pytest.mark.slow

BODY = b"a listed file"
GET = http_request()
LISTED = reqmod(http_request("http://listed.example/"))
TRICKLES = 60


@pytest.fixture
def listed(installation: Installation) -> Installation:
    digest = hashlib.sha256(BODY).hexdigest()
    installation.add("listed", attribute("domain", "listed.example"), attribute("sha256", digest))
    installation.refresh()
    return installation


@pytest.fixture
def icap(listed: Installation) -> Iterator[Icap]:
    started = Icap(listed, "hold_seconds = 1\nconnections = 600\nclient_responses = 100\n")
    yield started
    started.close()


def from_client(message: bytes, address: str) -> bytes:
    return message.replace(b"X-Client-IP: 192.0.2.7", b"X-Client-IP: " + address.encode())


def receive_for(client: socket.socket, seconds: float) -> list[tuple[float, bytes]]:
    """What comes, with how long nothing had come before."""
    found, last = [], time.monotonic()
    end = last + seconds
    while (left := end - time.monotonic()) > 0:
        client.settimeout(left)
        try:
            data = client.recv(1 << 16)
        except TimeoutError:
            break
        found.append((time.monotonic() - last, data))
        last = time.monotonic()
    return found


def test_server_that_waits_for_a_body_is_not_silent(icap: Icap) -> None:
    """Squid takes a server that says nothing for icap_io_timeout for stopped."""
    with icap.connect() as client:
        client.sendall(respmod(GET, http_response(), b"5\r\nab"))
        came = receive_for(client, 3)
        assert max(pause for pause, _ in came) < 1
        client.sendall(b"cde\r\n0\r\n\r\n")
        client.settimeout(10)
        rest = b""
        while not rest.endswith(b"\r\n0\r\n\r\n"):
            rest += client.recv(1 << 16)
    answer = b"".join(data for _, data in came) + rest
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"ICAP/1.0 200 OK\r\nISTag: ")
    _, _, chunks = body.partition(b"\r\n\r\n")
    # Leading zeros of the next chunk's size.
    assert chunks.lstrip(b"0") == b"5\r\nabcde\r\n0\r\n\r\n"
    assert chunks.startswith(b"000")


def test_trickling_bodies_hold_no_thread(icap: Icap) -> None:
    (worker,) = icap.workers()
    with ExitStack() as stack:
        clients = [stack.enter_context(icap.connect()) for _ in range(TRICKLES)]
        for client in clients:
            client.sendall(respmod(GET, http_response(), b"1\r\na\r\n"))
        for client in clients:
            client.recv(1)
        wait_until(lambda: _threads_at_work(worker) == 0, "all threads to be free")
        for client in clients:
            client.sendall(b"1\r\nb\r\n0\r\n\r\n")


def _threads_at_work(worker: int) -> int:
    """Threads that wait for a socket: those of the pool that are free wait for a lock."""
    waits = [
        (task / "wchan").read_text()
        for task in Path(f"/proc/{worker}/task").iterdir()
        if (task / "comm").read_text().strip() and task.name != str(worker)
    ]
    return sum("poll" in wait or "sk_wait" in wait for wait in waits)


def test_client_takes_no_more_than_its_share(listed: Installation) -> None:
    server = Icap(listed, 'client_responses = 3\nfail = "open"\n')
    held = respmod(GET, http_response(), b"5\r\nab")
    try:
        with ExitStack() as stack:
            for _ in range(3):
                client = stack.enter_context(server.connect())
                client.sendall(from_client(held, "2001:db8::1"))
                client.recv(1)
            body = chunked(b"unlisted")
            # The same network of IPv6 is the same client.
            refused = server.ask(from_client(respmod(GET, http_response(), body), "2001:db8::2"))
            assert refused.http_status == 503
            other = server.ask(from_client(respmod(GET, http_response(), body), "2001:db8:1::2"))
            assert other.status == 204
            assert server.ask(from_client(LISTED, "2001:db8::1")).http_status == 403
        found = status(listed)
        assert (found.code, found.count("client-responses-used-up")) == (1, 1)
        assert ": warning: client-responses-used-up: " in server.log
    finally:
        server.close()


def test_several_clients_together_leave_room_for_others(listed: Installation) -> None:
    server = Icap(listed, 'connections = 48\nfail = "open"\n')
    held = respmod(GET, http_response(), b"5\r\nab")
    small = respmod(GET, http_response(), chunked(b"unlisted"))
    try:
        with ExitStack() as stack:
            for number in range(40):
                client = stack.enter_context(server.connect())
                client.sendall(from_client(held, f"192.0.2.{number % 3}"))
                client.recv(1)
            # There are 30 places for responses: a quarter of them stays free.
            assert server.ask(from_client(small, "192.0.2.9")).status == 204
            found = status(listed)
            assert 13 <= found.count("client-responses-used-up") <= 20
    finally:
        server.close()


def test_last_place_for_a_response_is_said(listed: Installation) -> None:
    server = Icap(listed, "connections = 20\nclient_responses = 0\n")
    held = respmod(GET, http_response(), b"5\r\nab")
    try:
        with ExitStack() as stack:
            for taken in range(1, 10):
                assert (status(listed).count("connections-used-up") > 0) == (taken > 9)
                client = stack.enter_context(server.connect())
                client.sendall(from_client(held, "192.0.2.8"))
                client.recv(1)
            wait_until(lambda: status(listed).count("connections-used-up") == 1, "the row")
        assert ": critical: connections-used-up: all 9 that are for responses" in server.log
    finally:
        server.close()


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9)), min_size=60, max_size=200))
def test_no_client_has_more_than_is_free_when_it_takes(steps: list[tuple[int, int]]) -> None:
    shares = Shares(30, 20, unwatched(lambda _: None))
    held: dict[int, list[Share]] = {}
    for client, choice in steps:
        mine = held.setdefault(client, [])
        before = sum(map(len, held.values()))
        if not choice and mine:
            mine.pop().give_back()
            continue
        share = shares.take(f"192.0.2.{client}")
        if share.is_whole:
            assert len(mine) < max(1, 30 - before)
            mine.append(share)
        else:
            assert len(mine) + 1 > min(20, max(1, 30 - before))
            share.give_back()


def test_bodies_that_are_no_longer_checked_count_in_their_clients_share(
    listed: Installation,
) -> None:
    """Squid cannot take them back; they hold a connection, and neither a thread nor others up."""
    server = Icap(listed, "client_responses = 2\nbody_mib = 1\n")
    long = respmod(GET, http_response(), chunked(bytes(2 << 20)).removesuffix(b"0\r\n\r\n"))
    small = respmod(GET, http_response(), chunked(b"unlisted"))
    (worker,) = server.workers()
    try:
        with ExitStack() as stack:
            clients = [stack.enter_context(server.connect()) for _ in range(2)]
            for client in clients:
                client.sendall(from_client(long, "192.0.2.8"))
                receive_for(client, 1)
            assert status(listed).count("body-unchecked") == 2
            wait_until(lambda: _threads_at_work(worker) == 0, "all threads to be free")
            assert server.ask(from_client(small, "192.0.2.8")).http_status == 503
            assert server.ask(from_client(small, "192.0.2.9")).status == 204
            for client in clients:
                client.sendall(b"0\r\n\r\n")
                receive_for(client, 1)
            assert server.ask(from_client(small, "192.0.2.8")).status == 204
        assert status(listed).count("client-responses-used-up") == 1
    finally:
        server.close()


def test_responses_leave_connections_to_requests(listed: Installation) -> None:
    server = Icap(listed, 'connections = 20\nclient_responses = 0\nfail = "closed"\n')
    held = respmod(GET, http_response(), b"5\r\nab")
    try:
        with ExitStack() as stack:
            for number in range(9):
                client = stack.enter_context(server.connect())
                client.sendall(from_client(held, f"192.0.2.{number}"))
                client.recv(1)
            body = respmod(GET, http_response(), chunked(b"unlisted"))
            assert server.ask(body).http_status == 503
            assert server.ask(LISTED).http_status == 403
            assert server.ask(reqmod(GET)).status == 204
        assert status(listed).count("connections-used-up") == 2
    finally:
        server.close()


def test_download_that_nobody_takes_is_given_up(listed: Installation) -> None:
    server = Icap(listed, "backlog_mib = 8\n", workers=8)
    head = respmod(GET, http_response(), b"", allow="")
    piece = os.urandom(1 << 16)
    try:
        with server.connect() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.sendall(head)
            client.settimeout(120)
            with pytest.raises((ConnectionError, TimeoutError)):
                client.sendall((b"10000\r\n" + piece + b"\r\n") * 1000)
    finally:
        server.close()
    assert ": warning: download-given-up: " in server.log
    assert status(listed).count("download-given-up") >= 1


def test_options_last_as_long_as_squid_needs_them(icap: Icap) -> None:
    """Squid asks again after 30 s at the soonest, and counts from Date if there is one."""
    for service in ("reqmod", "respmod"):
        fields = icap.ask(options(service)).fields
        assert int(fields["options-ttl"]) >= 60
        assert "date" not in fields
    told = [int(icap.ask(options(s)).fields["max-connections"]) for s in ("reqmod", "respmod")]
    assert sum(told) < 600


ODD_RESPONSES = {
    "ICY": b"ICY 200 OK\r\nicy-name: radio\r\n\r\n",
    "no reason": b"HTTP/1.1 200\r\n\r\n",
    "no status": b"HTTP/1.1 \r\n\r\n",
    "words": b"HTTP/1.1 two hundred\r\n\r\n",
    "1000": b"HTTP/1.1 1000 OK\r\n\r\n",
    "000": b"HTTP/1.1 000 OK\r\n\r\n",
    "version": b"HTTP/9.9 200 OK\r\n\r\n",
    "odd lines": b"HTTP/1.1 200 OK\r\nno colon\r\n: no name\r\n\xff\xfe: \x80\r\nA\x00B: c\r\n\r\n",
    "lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: %d\r\n\r\n" % 10**20,
    "negative": b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    "huge": b"HTTP/1.1 200 OK\r\n" + b"X: %b\r\n" % (b"x" * 60_000) + b"\r\n",
    "folded": b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n",
    "encoding": b"HTTP/1.1 200 OK\r\nContent-Encoding: \xff, \x80,,identity\r\n\r\n",
    "disposition": b'HTTP/1.1 200 OK\r\nContent-Disposition: attachment; filename="\xff\r\n\r\n',
}


@pytest.mark.parametrize("head", ODD_RESPONSES.values(), ids=ODD_RESPONSES)
def test_odd_response_is_checked_like_any(icap: Icap, head: bytes) -> None:
    def ask(body: bytes) -> Answer:
        return icap.ask(respmod(GET, head, chunked(body)))

    assert ask(b"something else").status == 204
    if b"Encoding" not in head:
        assert ask(BODY).http_status == 403


ODD_REQUESTS = {
    "0.9": b"GET http://%b/a\r\n\r\n",
    "bytes": b"GET http://%b/\xff\xfe HTTP/1.1\r\n\r\n",
    "method": b"\xff\xfe http://%b/ HTTP/1.1\r\n\r\n",
    "spaces": b"GET http://%b/a b HTTP/1.1\r\n\r\n",
    "version": b"GET http://%b/ HTTQ/7\r\n\r\n",
    "agent": b"GET http://%b/ HTTP/1.1\r\nUser-Agent: \xff\x80\r\n\r\n",
    "huge": b"GET http://%b/ HTTP/1.1\r\nX: " + b"x" * 60_000 + b"\r\n\r\n",
}


@pytest.mark.parametrize("head", ODD_REQUESTS.values(), ids=ODD_REQUESTS)
def test_odd_request_is_judged_like_any(icap: Icap, head: bytes) -> None:
    assert icap.ask(reqmod(head.replace(b"%b", b"fine.example"))).status == 204
    assert icap.ask(reqmod(head.replace(b"%b", b"listed.example"))).http_status == 403


def test_answers_to_closing_clients_close(icap: Icap) -> None:
    """Squid makes a connection for each message, and the loop answers those as well."""
    message = reqmod(GET).replace(b"Encapsulated", b"Connection: close\r\nEncapsulated")
    for _ in range(3):
        with icap.connect() as client:
            client.sendall(message)
            assert read_answer(client).status == 204
            assert client.recv(1) == b""


def of_many_members(layers: int = 14) -> bytes:
    """4 KiB that took three seconds: each of 65,000 bytes went through all layers by itself."""
    sent = bytes(65_000)
    for _ in range(layers):
        sent = zlib.compress(sent, 0, wbits=-15)
    return gzip.compress(b"".join(gzip.compress(bytes([one]), 0, mtime=0) for one in sent))


def test_attack_bodies_that_take_long_keep_nobody_waiting(icap: Icap, listed: Installation) -> None:
    encodings = ", ".join(["deflate"] * 14 + ["gzip"] * 2)
    body = of_many_members()
    message = respmod(GET, http_response(Content_Encoding=encodings), chunked(body))
    with ExitStack() as stack:
        clients = [stack.enter_context(icap.connect()) for _ in range(60)]
        for client in clients:
            client.sendall(from_client(message, "192.0.2.66"))
        waited = []
        for _ in range(10):
            began = time.monotonic()
            assert icap.ask(LISTED).http_status == 403
            packed = gzip.compress(BODY)
            head = http_response(Content_Encoding="gzip")
            assert icap.ask(respmod(GET, head, chunked(packed))).http_status == 403
            waited.append(time.monotonic() - began)
        # Squid waits for a second.
        assert sorted(waited)[5] < 1
        for client in clients:
            read_answer(client)
    found = status(listed)
    assert found.count("body-unchecked") == 60
    assert not found.count("worker-stalled")
    assert "could not be checked: needs too many steps" in icap.log


def test_attack_windows_of_many_open_bodies_are_bounded(icap: Icap) -> None:
    """3 MiB in each window, and no end of the body."""
    size = 3 << 20
    block = (0xF | 2 << 5 | (size - 1) << 7 | 1 << 31).to_bytes(4, "little") + bytes(size)
    framing = chunked(gzip.compress(block)).removesuffix(LAST_CHUNK)
    message = respmod(GET, http_response(Content_Encoding="br, gzip"), framing)
    before = icap.memory_kib()
    with ExitStack() as stack:
        clients = [stack.enter_context(icap.connect()) for _ in range(90)]
        for client in clients:
            client.sendall(from_client(message, "192.0.2.66"))
        wait_until(lambda: "no memory left for windows" in icap.log, "the bound")
        time.sleep(1)
        assert icap.memory_kib() - before < 200 << 10
        packed = respmod(GET, http_response(Content_Encoding="br"), chunked(brotli.compress(BODY)))
        assert icap.ask(from_client(packed, "192.0.2.67")).http_status == 403
    assert icap.memory_kib() - before < 200 << 10


def test_attack_decoy_that_hides_the_true_reading_is_said(icap: Icap, listed: Installation) -> None:
    """br whose metadata is raw deflate, before a file that grows too much."""
    true = zlib.compress(BODY + bytes(40 << 20), 9)
    decoy = b"\x69\xfe\x00\x01\xff".ljust(5 + (0xFE >> 2 | 1 << 14), b"\0")
    assert len(true) <= 1 << 16
    block = ((len(true) - 1) << 3 | 1 << 19).to_bytes(3, "little") + true
    head = http_response(Content_Encoding="deflate, br")
    assert icap.ask(respmod(GET, head, chunked(decoy + block + b"\3"))).status == 204
    assert status(listed).count("body-unchecked") == 1
    assert "could not be checked: grows too much" in icap.log
