"""The protocol modules: bytes in, events out, no socket."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.icap import chunked, http_request, options, reqmod, respmod

from icap_server.protocol.chunks import End, encode_chunk
from icap_server.protocol.common_case import host_of, recognise, user_agent
from icap_server.protocol.errors import ProtocolError
from icap_server.protocol.http import parse_request, parse_response
from icap_server.protocol.parser import Event, Message, MessageParser

POST = http_request("http://fine.example/form", "POST")
SEEDS = [
    reqmod(http_request(), allow="204, trailers", preview=0),
    reqmod(http_request(User_Agent="Agent/1")),
    reqmod(POST, b"0\r\n\r\n", preview=0),
    reqmod(POST, b"0; ieof\r\n\r\n", preview=0),
    reqmod(POST, chunked(b"hello", 2), allow=""),
    reqmod(http_request("fine.example:443", "CONNECT"), allow="204, trailers"),
    respmod(http_request(), b"HTTP/1.1 200 OK\r\n\r\n", chunked(b"hello")),
    options("reqmod"),
]


PIECES = [b"\r\n", b"\r", b"\n", b"\0", b":", b"=", b"0", b"-1", b" ", b"ieof", b"Preview: 0\r\n"]


def events(data: bytes, cuts: list[int]) -> list[Event | str]:
    """What a parser makes of data that arrives in pieces; body pieces are joined."""
    parser = MessageParser()
    found: list[Event | str] = []
    start = 0
    for end in [*sorted(cuts), len(data)]:
        parser.feed(data[start:end])
        start = end
        try:
            while (event := parser.next()) is not None:
                if isinstance(event, bytes) and found and isinstance(found[-1], bytes):
                    found[-1] += event
                else:
                    found.append(event)
        except ProtocolError as error:
            return [*found, f"{error.status} {error}"]
    return found


def mutated(choose: random.Random) -> bytes:
    data = bytearray(b"".join(choose.choice(SEEDS) for _ in range(choose.randrange(1, 3))))
    for _ in range(choose.randrange(4)):
        at = choose.randrange(len(data))
        piece = choose.choice(
            [
                b"\r\n",
                b"\r",
                b"\n",
                b"\0",
                b":",
                b"=",
                b"0",
                b"-1",
                b" ",
                b"ieof",
                b"Preview: 0\r\n",
            ]
        )
        if choose.random() < 0.4:
            del data[at : at + choose.randrange(1, 20)]
        elif choose.random() < 0.6:
            data[at:at] = piece
        else:
            data[at] = choose.randrange(256)
    return bytes(data)


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=5))
def test_any_bytes_give_events_or_a_protocol_error(data: bytes, cuts: list[int]) -> None:
    events(data, [cut for cut in cuts if cut < len(data)])


def test_hundred_thousand_fuzzed_messages_give_the_same_however_they_are_cut() -> None:
    choose = random.Random(11)
    for _ in range(100_000):
        data = mutated(choose)
        whole = events(data, [])
        assert events(data, [choose.randrange(len(data) + 1)]) == whole
        for event in whole:
            assert isinstance(event, str | bytes | Message | End)


def test_common_case_is_read_as_the_parser_reads_it() -> None:
    choose = random.Random(12)
    recognised = 0
    for _ in range(50_000):
        data = mutated(choose)
        common = recognise(data)
        if common is None:
            continue
        recognised += 1
        parser = MessageParser()
        parser.feed(data[: common.end])
        message = parser.next()
        assert isinstance(message, Message)
        head = message.head
        assert (head.method, head.service, head.close) == (b"REQMOD", "reqmod", False)
        if head.has_body:
            assert head.preview == 0
            assert parser.next() == End(ieof=False)
        else:
            assert head.allow_204 or head.preview == 0
        assert not parser.buffer
        assert parser.at_start
        assert host_of(message.request, 0, len(message.request)) == common.host
        agent = parse_request(message.request).user_agent
        assert agent.encode("utf-8", "surrogateescape") == user_agent(data, common)
    assert recognised > 5000


@pytest.mark.parametrize("fields", ["A: b\r\n" * 3000, "Preview:0\r\n" * 2000, "a:" * 20000])
def test_no_head_makes_the_pattern_slow(fields: str) -> None:
    assert recognise(b"REQMOD icap://h/reqmod ICAP/1.0\r\n" + fields.encode()) is None


@given(st.lists(st.binary(max_size=50)), st.integers(1, 60))
@settings(deadline=None)
def test_chunks_come_back_as_they_were(pieces: list[bytes], size: int) -> None:
    data = reqmod(POST, b"".join(map(encode_chunk, pieces)) + b"0\r\n\r\n")
    _, *rest = events(data, list(range(size, len(data), size)))
    assert rest[-1] == End(ieof=False)
    assert b"".join(e for e in rest if isinstance(e, bytes)) == b"".join(pieces)


@pytest.mark.parametrize(
    ("request_", "uri"),
    [
        (b"GET /a?b HTTP/1.1\r\nHost: h.example\r\n\r\n", "http://h.example/a?b"),
        (b"GET http://x.example/ HTTP/1.1\r\nHost: h.example\r\n\r\n", "http://x.example/"),
        (b"GET http://x.example/a b HTTP/1.1\r\n\r\n", "http://x.example/a b"),
        (b"CONNECT x.example:443 HTTP/1.1\r\nHost: h\r\n\r\n", "x.example:443"),
    ],
)
def test_uri_is_absolute(request_: bytes, uri: str) -> None:
    assert parse_request(request_).uri == uri


def test_response_head() -> None:
    head = parse_response(
        b"HTTP/1.1 206 Partial\r\nContent-Length: 12\r\nContent-Encoding: GZIP, br\r\n"
        b"content-disposition: attachment; filename=x\r\nContent-Encoding: identity\r\n\r\n"
    )
    assert head == (206, 12, ("gzip", "br"), b"attachment; filename=x")
