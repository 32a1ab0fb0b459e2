"""The protocol modules: bytes in, events out, no socket."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inkgate.icap_server.protocol.chunks import End, encode_chunk
from inkgate.icap_server.protocol.common_case import Common, host_of, recognise
from inkgate.icap_server.protocol.errors import ProtocolError
from inkgate.icap_server.protocol.http import parse_request, parse_response
from inkgate.icap_server.protocol.parser import Event, IcapMessage, MessageParser
from support.icap import chunked, http_request, options, reqmod, respmod

POST = http_request("http://fine.example/form", "POST")
SEEDS = [
    reqmod(http_request(), allow="204, trailers", preview=0),
    reqmod(http_request(User_Agent="Agent/1")),
    reqmod(http_request(USER_AGENT=" Agent/1 ", User_Agent="Agent/2")),
    reqmod(POST, b"0\r\n\r\n", preview=0),
    reqmod(POST, b"0; ieof\r\n\r\n", preview=0),
    reqmod(POST, chunked(b"hello", 2), allow=""),
    reqmod(http_request("fine.example:443", "CONNECT"), allow="204, trailers"),
    respmod(http_request(), b"HTTP/1.1 200 OK\r\n\r\n", chunked(b"hello")),
    options("reqmod"),
]


PIECES = [b"\r\n", b"\r", b"\n", b"\0", b":", b"=", b"0", b"-1", b" ", b"ieof", b"Preview: 0\r\n"]
PIECES += [b"\r\n\r\n", b"\n\n", b"\n\r\n", b"\r\nUser-Agent: x", b"\t", b"\v"]


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
        piece = choose.choice(PIECES)
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


@pytest.mark.slow
def test_hundred_thousand_fuzzed_messages_give_the_same_however_they_are_cut() -> None:
    choose = random.Random(11)
    for _ in range(100_000):
        data = mutated(choose)
        whole = events(data, [])
        assert events(data, [choose.randrange(len(data) + 1)]) == whole
        for event in whole:
            assert isinstance(event, str | bytes | IcapMessage | End)


def read_alike(data: bytes, common: Common) -> None:
    """Hold the parser to what the fast path has seen."""
    parser = MessageParser()
    parser.feed(data[: common.end])
    message = parser.next()
    assert isinstance(message, IcapMessage)
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
    assert agent.encode("utf-8", "surrogateescape") == common.agent


def test_common_case_is_read_as_the_parser_reads_it() -> None:
    choose = random.Random(12)
    recognised = 0
    for _ in range(50_000):
        data = mutated(choose)
        common = recognise(data)
        if common is None:
            continue
        recognised += 1
        read_alike(data, common)
    assert recognised > 5000


SPACE = st.text(" \t\v\f\r\n", max_size=2)
AGENTS = st.builds(
    lambda before, name, after, value: f"{before}{name}{after}:{value}",
    SPACE,
    st.sampled_from(["User-Agent", "user-agent", "USER-AGENT", "User-Agents", "X-User-Agent", "X"]),
    SPACE,
    st.text(" \t\v\r\n:aé", max_size=5),
)


@given(st.lists(AGENTS, max_size=4))
@settings(max_examples=3000)
@pytest.mark.slow
def test_attack_user_agents_are_never_read_in_two_ways(lines: list[str]) -> None:
    head = "\r\n".join(["GET http://fine.example/ HTTP/1.1", *lines, "", ""]).encode()
    data = reqmod(head, preview=0)
    common = recognise(data)
    if common is not None:
        read_alike(data, common)
    if (common := recognise(data, agents=False)) is not None:
        assert common.agent == b""


@pytest.mark.parametrize(
    "lines",
    [
        "User-Agent:\r\nUser-Agent: Evil",
        "User-Agent: a\r\nUser-Agent: Evil",
        "User-Agent : Evil",
        "User-Agent\t: Evil",
        " User-Agent: Evil",
        "X: y\r\n\tUser-Agent: Evil",
        "User-Agent: Evil\rX: y",
        "User-Agent: Evil\nX: y",
        "\x0buser-agent\x0c: Evil",
    ],
)
def test_attack_odd_user_agents_are_left_to_the_parser(lines: str) -> None:
    head = f"GET http://fine.example/ HTTP/1.1\r\n{lines}\r\n\r\n".encode()
    assert recognise(reqmod(head)) is None
    assert recognise(reqmod(head), agents=False) is not None or b"\n\n" in head


@pytest.mark.parametrize("name", ["X-User-Agent: x", "User-Agents: x", "Accept: User-Agent: x"])
def test_fields_that_only_look_like_a_user_agent_are_none(name: str) -> None:
    head = f"GET http://fine.example/ HTTP/1.1\r\n{name}\r\nUser-Agent: Fine\r\n\r\n".encode()
    common = recognise(reqmod(head))
    assert common is not None
    assert common.agent == b"Fine"


@pytest.mark.parametrize(
    "section",
    [
        b"abc",
        b"\r\n\r",
        b"\n\r\n",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\n\n",
        b"HTTP/1.1 200 OK\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\nA: b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: b\n\nC: d\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: b\n\r\nC: d\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n\r\n",
    ],
)
def test_attack_section_that_is_not_one_head_is_400(section: bytes) -> None:
    (found,) = events(respmod(http_request(), section, chunked(b"x")), [])
    assert str(found).startswith("400")
    request = section.replace(b"HTTP/1.1 200 OK", b"GET http://fine.example/ HTTP/1.1")
    assert str(events(reqmod(request), [])[0]).startswith("400")
    assert recognise(reqmod(request)) is None


@pytest.mark.parametrize("fields", ["A: b\r\n" * 3000, "Preview:0\r\n" * 2000, "a:" * 20000])
def test_no_head_makes_the_pattern_slow(fields: str) -> None:
    assert recognise(b"REQMOD icap://h/reqmod ICAP/1.0\r\n" + fields.encode()) is None


@given(st.lists(st.binary(max_size=50)), st.integers(1, 60))
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
    assert head == (206, 12, ("gzip", "br"), (b"attachment; filename=x",))
