"""Bounds on what servers answer: bodies, redirects, addresses, deadlines."""

from __future__ import annotations

import base64
import gzip
import socket
import threading
import time
import zlib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from inkgate.remote import redirects
from inkgate.remote.bodies import body_of, check_parts
from inkgate.remote.deadline import Deadline
from inkgate.remote.errors import (
    BrokenBodyError,
    InnerAddressError,
    OutOfTimeError,
    RedirectRefusedError,
    TooLargeError,
)
from inkgate.remote.redirects import Home, is_inner, next_url
from inkgate.remote.web import WebClient


class Raw(BytesIO):
    """A body as urllib3 gives it."""

    def read(self, amt: int | None = -1, decode_content: bool = False) -> bytes:
        assert not decode_content
        return super().read(amt)


def body(data: bytes, limit: int, **headers: str) -> bytes:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return b"".join(body_of(Raw(data), named, limit))


def packed(data: bytes, wbits: int) -> bytes:
    packer = zlib.compressobj(wbits=wbits)
    return packer.compress(data) + packer.flush()


@pytest.mark.parametrize(
    ("data", "coding"),
    [
        (b"x" * 70_000, ""),
        (b"x" * 70_000, "identity"),
        (gzip.compress(b"x" * 70_000, mtime=0), "gzip"),
        (gzip.compress(b"x" * 30_000, mtime=0) + gzip.compress(b"x" * 40_000, mtime=0), "X-GZIP"),
        (packed(b"x" * 70_000, 15), "deflate"),
    ],
)
def test_body_within_its_bound(data: bytes, coding: str) -> None:
    assert body(data, 70_000, Content_Encoding=coding) == b"x" * 70_000
    with pytest.raises(TooLargeError):
        body(data, 69_999, Content_Encoding=coding)


def test_bomb_is_not_unpacked_whole() -> None:
    pieces: Iterator[bytes] = body_of(
        Raw(gzip.compress(b" " * (64 << 20), mtime=0)), {"Content-Encoding": "gzip"}, 1 << 20
    )
    taken: list[int] = []
    with pytest.raises(TooLargeError):
        taken.extend(map(len, pieces))
    assert max(taken) <= 1 << 16
    assert sum(taken) <= 1 << 20


@pytest.mark.parametrize(
    ("data", "coding"),
    [
        (gzip.compress(b"x" * 9000, mtime=0)[:-9], "gzip"),
        (b"no gzip", "gzip"),
        (gzip.compress(b"x", mtime=0) + b"rest", "gzip"),
        (b"x", "br"),
        (gzip.compress(gzip.compress(b"x", mtime=0), mtime=0), "gzip, gzip"),
    ],
)
def test_body_that_is_not_what_it_says(data: bytes, coding: str) -> None:
    with pytest.raises(BrokenBodyError):
        body(data, 1 << 20, Content_Encoding=coding)


def test_parts_are_counted() -> None:
    check_parts(b'{"a": [1, 2]}', 2)
    with pytest.raises(TooLargeError, match="more than 1 objects"):
        check_parts(b'{"a": [1, 2]}', 1)


@pytest.mark.parametrize(
    ("url", "location", "target"),
    [
        ("https://a.example/x/m.json", "n.json", "https://a.example/x/n.json"),
        ("https://a.example/x/m.json", "/n.json?q", "https://a.example/n.json?q"),
        ("https://a.example/x", "https://A.example:443/y", "https://A.example:443/y"),
        ("http://a.example/x", "https://a.example/x", "https://a.example/x"),
        ("http://a.example:8080/x", "https://a.example:8443/x", "https://a.example:8443/x"),
        ("https://u:p@a.example/x", "https://a.example/y", "https://u:p@a.example/y"),
        ("https://u:p@a.example/x", "https://v:q@a.example/y", "https://u:p@a.example/y"),
        ("https://a.example/y", "https:///x", "https://a.example/x"),
        ("https://a.example/y", "https://b.example\\@a.example/x", "https://a.example/x"),
        ("http://127.0.0.1:80/x", "http://127.0.0.1/y", "http://127.0.0.1/y"),
    ],
)
def test_redirects_that_stay(url: str, location: str, target: str) -> None:
    assert next_url(url, location) == target


@pytest.mark.parametrize(
    "location",
    [
        "http://a.example/x",
        "https://b.example/x",
        "https://a.example.b.example/x",
        "https://a.example@b.example/x",
        "//b.example/x",
        "https://127.0.0.1/x",
        "https://[::1]/x",
        "https://localhost/x",
        "https://a.example:8443/x",
        "file:///etc/passwd",
        "ftp://a.example/x",
        "https://[/x",
        "https://a.example:x/",
        "\\\\b.example\\x",
    ],
)
def test_redirects_that_lead_elsewhere(location: str) -> None:
    if location.startswith("\\"):
        # No scheme and no host for RFC 3986: a path on the same host.
        assert next_url("https://a.example/y", location).startswith("https://a.example/")
        return
    with pytest.raises(RedirectRefusedError):
        next_url("https://a.example/y", location)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "::1",
        "10.1.2.3",
        "192.168.0.1",
        "169.254.169.254",
        "fe80::1%eth0",
        "fd00::1",
        "::ffff:127.0.0.1",
        "0.0.0.0",
        "100.64.0.1",
    ],
)
def test_inner_addresses(address: str) -> None:
    assert is_inner(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8"])
def test_outer_addresses(address: str) -> None:
    assert not is_inner(address)


class Connected:
    """A socket that is connected to an address."""

    def __init__(self, address: str) -> None:
        self._address = address

    def getpeername(self) -> tuple[str, int]:
        return self._address, 443


def test_host_that_was_outside_does_not_lead_inside() -> None:
    outside: Any = Connected("8.8.8.8")
    inside: Any = Connected("127.0.0.1")
    home = Home()
    home.check(outside)
    home.check(outside)
    with pytest.raises(InnerAddressError):
        home.check(inside)
    configured = Home()
    configured.check(inside)
    configured.check(inside)


def test_connection_to_an_inner_address_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redirects, "is_inner", lambda address: address == "127.0.0.2")
    with (
        socket.create_server(("127.0.0.1", 0)) as first,
        socket.create_server(("127.0.0.2", first.getsockname()[1])) as second,
        Deadline(10) as deadline,
        WebClient(deadline, timeout=5, proxy="none") as client,
    ):
        port = first.getsockname()[1]

        def serve() -> None:
            connection, _ = first.accept()
            with connection:
                connection.recv(1 << 16)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx")

        thread = threading.Thread(target=serve)
        thread.start()
        assert b"".join(client.download(f"http://127.0.0.1:{port}/", 9)) == b"x"
        thread.join()
        with pytest.raises(InnerAddressError):
            list(client.download(f"http://127.0.0.2:{port}/", 9))
        second.settimeout(5)
        connection, _ = second.accept()
        with connection:
            # Not a byte was sent there.
            assert connection.recv(1) == b""


def test_deadline_wakes_whoever_reads() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, Deadline(0.2) as deadline:
        deadline.watch(ours)
        started = time.monotonic()
        assert ours.recv(1) == b""
        assert time.monotonic() - started < 5
        with pytest.raises(OutOfTimeError, match=r"within 0\.2 s"):
            deadline.check()
        late, other = socket.socketpair()
        with late, other:
            deadline.watch(late)
            assert late.recv(1) == b""


def test_deadline_ends_a_wait_and_can_be_broken_off() -> None:
    with Deadline(0.1) as deadline, pytest.raises(OutOfTimeError):
        deadline.sleep(60)
    with Deadline(60) as deadline:
        deadline.sleep(0.01)
        assert deadline.left() < 60
        deadline.break_off()
        with pytest.raises(OutOfTimeError):
            deadline.left()


@pytest.mark.parametrize("login", ["", "reader:secret@"])
def test_no_login_but_that_of_the_address_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, login: str
) -> None:
    """`requests` gives a server what ~/.netrc has for its host, and rather that than its own."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login someone password else\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    asked: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            client, _ = server.accept()
            with client:
                asked.append(client.recv(1 << 16))
                client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

        thread = threading.Thread(target=answer)
        thread.start()
        url = f"http://{login}127.0.0.1:{server.getsockname()[1]}/manifest.json"
        with Deadline(30) as deadline, WebClient(deadline, timeout=10) as client:
            assert b"".join(client.download(url, 100)) == b"{}"
        thread.join()
    expected = base64.b64encode(login.rstrip("@").encode())
    lines = [line for line in asked[0].split(b"\r\n") if line.startswith(b"Authorization")]
    assert lines == ([b"Authorization: Basic " + expected] if login else [])
