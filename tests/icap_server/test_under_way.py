"""Answers while a body is still under way: pages that do not wait, streams that go on."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import random
import socket
from collections.abc import Iterator

import pytest

from support.icap import Icap, chunked, http_request, http_response, read_answer, reqmod, respmod
from support.installation import Installation, attribute

CHOOSE = random.Random(21)
LISTED = CHOOSE.randbytes(150_000)
SHORT = b"a short listed file"
EVENTS = b"data: 1\n\ndata: 2\n\n"
GET = http_request("http://fine.example/a")
RANGE = http_request("http://fine.example/a", Range="bytes=0-")
STREAM = http_response(Content_Type="text/event-stream")
BAD_SERVER = "X-Server-IP: 198.51.100.66\r\n"
# What a fault would let come only after these times does not come within PATIENCE.
SETTINGS = "hold_kib = 64\nhold_seconds = 120\nbody_seconds = 120\nbody_mib = 4\n"
PATIENCE_SECONDS = 30


@pytest.fixture(scope="module")
def icap() -> Iterator[Icap]:
    installation = Installation()
    digests = (hashlib.sha256(body).hexdigest() for body in (LISTED, SHORT, EVENTS))
    installation.add(
        "listed",
        attribute("domain", "listed.example"),
        attribute("ip-dst", "198.51.100.66"),
        *(attribute("sha256", digest) for digest in digests),
    )
    installation.refresh()
    started = Icap(installation, SETTINGS)
    yield started
    started.close()
    installation.close()


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def read_until(client: socket.socket, mark: bytes) -> bytes:
    client.settimeout(PATIENCE_SECONDS)
    data = b""
    while mark not in data:
        piece = client.recv(65_536)
        assert piece, data
        data += piece
    return data


def read_for(client: socket.socket, seconds: float) -> None:
    """Whatever comes, until nothing has come for so long."""
    client.settimeout(seconds)
    with contextlib.suppress(TimeoutError):
        while client.recv(1 << 20):
            pass


def send_zeros(client: socket.socket, size: int) -> None:
    for _ in range(0, size, 65_536):
        client.sendall(chunk(bytes(65_536)))


def partial(content_range: str) -> bytes:
    head = http_response(Content_Range=content_range)
    return head.replace(b"200 OK", b"206 Partial Content")


BLOCKED = {
    "request": reqmod(http_request("http://listed.example/", "POST"), b""),
    "server": respmod(GET, http_response(), b"", extra=BAD_SERVER),
}


@pytest.mark.parametrize("message", BLOCKED.values(), ids=BLOCKED)
@pytest.mark.slow
def test_fault_page_waits_for_a_body_that_pauses(icap: Icap, message: bytes) -> None:
    with icap.connect() as client:
        client.sendall(message + b"5\r\nhello\r\n")
        client.settimeout(PATIENCE_SECONDS)
        assert read_answer(client).http_status == 403
        # Soon after, the rest is no longer waited for.
        assert client.recv(1) == b""


@pytest.mark.parametrize("message", BLOCKED.values(), ids=BLOCKED)
def test_connection_is_kept_when_little_of_a_blocked_body_is_left(
    icap: Icap, message: bytes
) -> None:
    with icap.connect() as client:
        for _ in range(3):
            client.sendall(message + chunk(LISTED))
            assert read_answer(client).http_status == 403
            client.sendall(chunk(LISTED) + b"0\r\n\r\n")
        client.sendall(reqmod(http_request()))
        assert read_answer(client).status == 204


@pytest.mark.parametrize("message", BLOCKED.values(), ids=BLOCKED)
def test_blocked_body_without_end_ends_the_connection(icap: Icap, message: bytes) -> None:
    with icap.connect() as client:
        client.sendall(message)
        assert read_answer(client).http_status == 403
        with pytest.raises(ConnectionError):
            send_zeros(client, 64 << 20)


def test_unlisted_response_without_rules_for_bodies_is_not_collected() -> None:
    installation = Installation()
    installation.add("listed", attribute("domain", "listed.example"))
    installation.refresh()
    server = Icap(installation)
    try:
        with server.connect() as client:
            client.sendall(respmod(GET, http_response(), chunk(b"first")))
            assert b"first" in read_until(client, b"first")
    finally:
        server.close()
        installation.close()


def test_fault_part_that_was_asked_for_is_collected_before_it_goes_on(icap: Icap) -> None:
    with icap.connect() as client:
        client.sendall(respmod(RANGE, partial("bytes 5-9/10"), chunk(b"first")))
        assert read_until(client, b"first").startswith(b"ICAP/1.0 200")
        client.sendall(chunk(b"second") + b"0\r\n\r\n")
        read_until(client, b"second\r\n0\r\n\r\n")
        client.sendall(respmod(RANGE, partial("bytes 5-9/10"), b"0\r\n\r\n", preview=0))
        assert read_answer(client).status == 204


@pytest.mark.parametrize(
    ("request_", "response"),
    [
        (RANGE, partial(f"bytes 0-{len(SHORT) - 1}/{len(SHORT)}")),
        (GET, partial("bytes 0-9/1000")),
        (GET, partial("nonsense")),
        (GET, http_response(600 << 20)),
    ],
    ids=["206 of the whole", "part that nobody asked for", "206 without range", "false length"],
)
def test_attack_head_that_says_there_is_nothing_to_inspect(
    icap: Icap, request_: bytes, response: bytes
) -> None:
    assert icap.ask(respmod(request_, response, chunked(SHORT))).http_status == 403
    assert icap.ask(respmod(request_, response, chunked(SHORT[1:]))).status == 204


@pytest.mark.slow
def test_body_over_the_limit_goes_on_and_is_no_longer_held(icap: Icap) -> None:
    body = CHOOSE.randbytes(5 << 20)
    with icap.connect() as client:
        client.sendall(respmod(GET, http_response(600 << 20), b""))
        for at in range(0, len(body), 1 << 19):
            client.settimeout(PATIENCE_SECONDS)
            client.sendall(chunk(body[at : at + (1 << 19)]))
            read_for(client, 0.1)
        client.sendall(chunk(b"the last so far"))
        read_until(client, b"the last so far")


def test_unchecked_block_trusts_what_makes_it_block() -> None:
    installation = Installation()
    installation.add("listed", attribute("sha256", hashlib.sha256(SHORT).hexdigest()))
    installation.refresh()
    server = Icap(installation, 'body_mib = 1\nunchecked = "block"\n')
    try:
        for response in (http_response(2 << 20), partial("bytes 0-9/11"), partial("nonsense")):
            answer = server.ask(respmod(GET, response, chunk(b"x")))
            assert answer.http_status == 403
            assert b"inkgate-unchecked" in answer.body
        whole = partial("bytes 0-0/1")
        assert server.ask(respmod(RANGE, whole, chunked(b"x"))).status == 204
    finally:
        server.close()
        installation.close()


def damaged(body: bytes) -> bytes:
    packed = bytearray(gzip.compress(body))
    packed[-8] ^= 1
    return bytes(packed)


@pytest.mark.parametrize(
    "sent",
    [damaged(LISTED), gzip.compress(LISTED) + gzip.compress(b"x"), gzip.compress(LISTED)[:-8]],
    ids=["wrong checksum", "second member", "cut off"],
)
def test_attack_gzip_that_browsers_show_and_strict_tools_refuse(icap: Icap, sent: bytes) -> None:
    with icap.connect() as client:
        head = http_response(Content_Encoding="gzip")
        client.sendall(respmod(GET, head, chunked(sent, 30_000)))
        answer = read_answer(client)
        assert answer.http_status == 403 or not answer.ended


def test_fault_event_stream_stalls_until_enough_of_it_has_come(icap: Icap) -> None:
    with icap.connect() as client:
        client.sendall(respmod(GET, STREAM, b""))
        assert STREAM in read_until(client, b"\r\n\r\n" + STREAM)
        for number in range(3):
            event = b"data: %d\n\n" % number
            client.sendall(chunk(event))
            assert read_until(client, event) == chunk(event)
        client.sendall(b"0\r\n\r\n")
        read_until(client, b"0\r\n\r\n")
        client.sendall(reqmod(http_request()))
        assert read_answer(client).status == 204


def test_event_stream_with_a_preview_goes_on_after_100(icap: Icap) -> None:
    with icap.connect() as client:
        client.sendall(respmod(GET, STREAM, chunked(b"data: a\n\n"), preview=9))
        assert read_answer(client).status == 100
        assert read_until(client, b"data: a").startswith(b"ICAP/1.0 200")
        client.sendall(chunk(b"data: b\n\n"))
        read_until(client, b"data: b")


@pytest.mark.slow
def test_event_stream_may_be_silent_for_longer_than_a_body() -> None:
    installation = Installation()
    installation.add("listed", attribute("sha256", hashlib.sha256(SHORT).hexdigest()))
    installation.refresh()
    server = Icap(installation, "body_seconds = 0.5\n")
    try:
        with server.connect() as client, server.connect() as other:
            client.sendall(respmod(GET, STREAM, chunk(b"data: a\n\n")))
            read_until(client, b"data: a")
            # Silent from a later moment on, and given up.
            other.sendall(respmod(GET, http_response(), b"5\r\nab"))
            assert not read_answer(other).ended
            client.sendall(chunk(b"data: b\n\n"))
            read_until(client, b"data: b")
    finally:
        server.close()
        installation.close()


@pytest.mark.parametrize("encoding", ["", "nobody-knows", "gzip", "br"])
def test_attack_listed_file_as_an_event_stream_lacks_its_last_piece(
    icap: Icap, encoding: str
) -> None:
    head = http_response(Content_Type="text/event-stream", Content_Encoding=encoding)
    with icap.connect() as client:
        client.sendall(respmod(GET, head, chunk(EVENTS[:9])))
        data = read_until(client, EVENTS[:9])
        client.sendall(chunk(EVENTS[9:]) + b"0\r\n\r\n")
        client.settimeout(PATIENCE_SECONDS)
        while piece := client.recv(65_536):
            data += piece
    assert data.endswith(chunk(EVENTS[:9]))


@pytest.mark.parametrize(
    "head",
    [
        http_response(len(LISTED), Content_Type="text/event-stream"),
        http_response(Content_Type="text/event-stream", Content_Disposition="attachment"),
    ],
    ids=["length", "disposition"],
)
def test_attack_file_that_is_called_a_stream_is_held(icap: Icap, head: bytes) -> None:
    with icap.connect() as client:
        client.sendall(respmod(GET, head, chunk(SHORT)))
        with icap.connect() as other:
            # A real stream goes on, although it came later.
            other.sendall(respmod(GET, STREAM, chunk(b"data: a\n\n")))
            read_until(other, b"data: a")
        client.setblocking(False)
        with pytest.raises(BlockingIOError):
            client.recv(1)
        client.settimeout(PATIENCE_SECONDS)
        client.sendall(b"0\r\n\r\n")
        assert read_answer(client).http_status == 403


@pytest.mark.slow
def test_no_stream_types_means_that_all_is_held() -> None:
    installation = Installation()
    installation.add("listed", attribute("sha256", hashlib.sha256(SHORT).hexdigest()))
    installation.refresh()
    server = Icap(installation, "stream_types = []\n")
    try:
        assert server.ask(respmod(GET, STREAM, chunked(SHORT))).http_status == 403
    finally:
        server.close()
        installation.close()


@pytest.mark.parametrize("size", [65_536, 200_000, 1 << 20])
def test_fault_preview_longer_than_what_is_held_begins_an_answer(icap: Icap, size: int) -> None:
    body = CHOOSE.randbytes(size) + b"and the rest"
    framing = chunked(body[:size], 30_000)
    message = respmod(GET, http_response(), framing, allow="", preview=size)
    with icap.connect() as client:
        client.sendall(message)
        data = read_until(client, b"\r\n\r\n")
        assert data.startswith(b"ICAP/1.0 100 Continue\r\n\r\n")
        client.sendall(chunked(body[size:]) + reqmod(http_request()))
        data += read_until(client, b"ICAP/1.0 204")
    assert data.count(b"ICAP/1.0 100") == 1
    assert body[size:] in data
    assert body[:30_000] in data


def test_listed_preview_that_is_all_of_the_body_is_blocked(icap: Icap) -> None:
    framing = chunked(LISTED).removesuffix(b"0\r\n\r\n") + b"0; ieof\r\n\r\n"
    with icap.connect() as client:
        for _ in range(2):
            client.sendall(respmod(GET, http_response(), framing, preview=len(LISTED)))
            assert read_answer(client).http_status == 403


def test_attack_preview_without_end_is_refused(icap: Icap) -> None:
    before = icap.memory_kib()
    with icap.connect() as client:
        client.sendall(respmod(GET, http_response(), b"", preview=999_999_999))
        with pytest.raises(ConnectionError):
            send_zeros(client, 64 << 20)
    with icap.connect() as client:
        message = respmod(GET, http_response(), chunk(bytes(1 << 20) + b"x"), preview=9_999_999)
        client.sendall(message)
        assert read_answer(client).status == 400
    assert icap.memory_kib() - before < 20_000
