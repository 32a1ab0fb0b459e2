"""The check as a client: where it asks, how long, and what it makes of an answer."""

from __future__ import annotations

import threading
import time
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path

import pytest

from inkgate.squid_conf.ports import Port
from inkgate.squid_conf.through_proxy.client import MAX_BYTES, Ask, ask
from inkgate.squid_conf.through_proxy.client_proxy import (
    VARIABLE,
    ClientProxyError,
    given_proxy,
    named_proxy,
    parse_client_proxy,
    seen_by_client,
)
from inkgate.squid_conf.through_proxy.own_origin import own_origin
from support.answering import Answering
from support.squid import free_port

GET = Ask("GET", "http://canary.invalid/")


def test_chunked_page_has_its_incident_whole() -> None:
    page = b"HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\n"
    with Answering(page, b"9\r\nid IG-012\r\n", b"9\r\n3456789 .\r\n0\r\n\r\n") as port:
        assert ask(port, GET).has_incident


def test_page_that_breaks_off_counts_with_what_came() -> None:
    with Answering(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 999\r\n\r\nIG-0123456789") as port:
        reply = ask(port, GET)
        assert (reply.status, reply.has_incident) == (403, True)


def test_incident_in_a_page_that_passed_is_no_refusal() -> None:
    with Answering(b"HTTP/1.1 200 OK\r\n\r\nIG-0123456789") as port:
        assert not ask(port, GET).has_incident


def test_attack_drops_of_an_answer_do_not_keep_it_longer() -> None:
    with Answering(b"HTTP/1.1 200 OK\r\n", *[b"A: b\r\n"] * 1000, pause=0.05) as port:
        begun = time.monotonic()
        assert ask(port, GET, seconds=1).status in (0, 200)
        assert time.monotonic() - begun < 10


def test_attack_endless_answer_is_read_in_part() -> None:
    with Answering(b"HTTP/1.1 200 OK\r\n\r\n", endless=True) as port:
        reply = ask(port, GET)
        assert reply.status == 200
        assert len(reply.text) <= MAX_BYTES + 1000


@pytest.mark.parametrize("data", [b"", b"\0\xff" * 100, b"HTTP/1.1 99999 x\r\n\r\n", b"ICAP/1.0 2"])
def test_attack_nonsense_is_no_answer(data: bytes) -> None:
    with Answering(data) as port:
        assert ask(port, GET).status == 0


def test_open_tunnel_is_not_waited_for() -> None:
    with Answering(b"HTTP/1.1 200 Connection established\r\n\r\n", pause=30) as port:
        begun = time.monotonic()
        assert ask(port, Ask("CONNECT", "canary.invalid:443")).status == 200
        assert time.monotonic() - begun < 10


def test_nothing_listens() -> None:
    assert ask(Port("", "127.0.0.1", free_port()), GET).status == -1


def test_port_of_another_check_is_waited_for() -> None:
    port = free_port()
    with own_origin(port, b"") as first:
        assert first is not None
        threading.Timer(0.5, first.close).start()
        with own_origin(port, b"") as second:
            assert second is not None
            assert second.port == port


@pytest.mark.parametrize("path", ["/", "/inkgate-check/", "/inkgate-check/0/digest", "/../x"])
def test_attack_origin_of_the_check_answers_nobody_else(path: str) -> None:
    with own_origin(free_port(), b"canary's body") as origin:
        assert origin is not None
        for method in ("GET", "POST", "HEAD"):
            with closing(HTTPConnection("127.0.0.1", origin.port)) as connection:
                connection.request(method, path)
                reply = connection.getresponse()
                assert reply.status in (404, 501)
                assert b"canary" not in reply.read()
            assert origin.seen(path) is None
        mine = f"{origin.prefix}1/digest"
        with closing(HTTPConnection("127.0.0.1", origin.port)) as connection:
            connection.request("POST", mine, b"four")
            assert connection.getresponse().read() == b"canary's body"
        assert origin.seen(mine) == 4


def test_prefix_of_one_check_is_no_prefix_of_another() -> None:
    with own_origin(free_port(), b"") as one, own_origin(free_port(), b"") as other:
        assert one is not None
        assert other is not None
        assert not one.knows(f"{other.prefix}1")
        assert not one.knows(one.prefix[:-1])


def test_client_proxy_comes_from_a_file_or_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert named_proxy(None) is None
    file = tmp_path / "proxy"
    file.write_text("http://u:p%40ss@192.0.2.1:8080/\n")
    found = named_proxy(file)
    assert found is not None
    assert (found.host, found.port, found.authorization) == (
        "192.0.2.1",
        8080,
        "Basic dTpwQHNz",
    )
    assert "dTpwQHNz" not in repr(found)
    monkeypatch.setenv(VARIABLE, "u:p@proxy.example")
    found = named_proxy(None)
    assert found is not None
    assert (found.host, found.port) == ("proxy.example", 3128)
    with pytest.raises(ClientProxyError, match="everybody on this machine can read") as caught:
        given_proxy("http://u:sesame@192.0.2.1")
    assert "sesame" not in str(caught.value)


@pytest.mark.parametrize("text", ["https://u:sesame@a:1", "ftp://a", "http://a:sesame", "http://"])
def test_what_is_no_proxy_is_said_without_repeating_it(text: str) -> None:
    with pytest.raises(ClientProxyError) as caught:
        parse_client_proxy(text, "the file")
    assert "the file" in str(caught.value)
    assert "sesame" not in str(caught.value)


def test_ports_are_tried_where_a_client_finds_them() -> None:
    ports = [Port("a:1", "127.0.0.1", 3128, is_any=True), Port("a:2", "192.0.2.9", 3129)]
    client = parse_client_proxy("http://192.0.2.1:3128", "x")
    assert [port.host for port in seen_by_client(ports, client)] == ["192.0.2.1", "192.0.2.9"]
    other = parse_client_proxy("http://192.0.2.1:9", "x")
    assert seen_by_client(ports, other) == [Port("", "192.0.2.1", 9)]
    assert seen_by_client(ports, None) == ports
