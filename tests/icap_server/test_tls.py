"""ICAP over TLS: who is slow or silent takes nothing from the others."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from support.authority import Authority
from support.icap import Icap, chunked, http_request, options, read_answer, reqmod
from support.installation import Installation, attribute
from support.squid import free_port
from support.waiting import wait_until

LISTED = reqmod(http_request("http://listed.example/"))
FINE = reqmod(http_request())


class Secure(Icap):
    """inkgate-icap that speaks TLS as well."""

    def __init__(self, settings: str) -> None:
        self.installation = Installation()
        self.installation.add("listed", attribute("domain", "listed.example"))
        self.installation.refresh()
        folder = self.installation.folder
        self.tls_port = free_port()
        authority = Authority()
        pem = authority.issue(folder / "icap.pem", "localhost")
        self.context = ssl.create_default_context(cafile=authority.write(folder / "ca.pem"))
        super().__init__(
            self.installation,
            f'tls_listen = "127.0.0.1:{self.tls_port}"\ntls_certificate = "{pem}"\n'
            f'tls_key = "{pem}"\n{settings}',
        )

    def connect_raw(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.tls_port), 30)

    def connect_tls(self) -> ssl.SSLSocket:
        return self.context.wrap_socket(self.connect_raw(), server_hostname="localhost")

    def threads(self) -> int:
        return sum(len(list(Path(f"/proc/{pid}/task").iterdir())) for pid in self.workers())

    def close(self) -> None:
        super().close()
        self.installation.close()
        assert "Traceback" not in self.log_text

    @property
    def log_text(self) -> str:
        return self.log if self.log_path.exists() else ""


@contextmanager
def running(settings: str) -> Iterator[Secure]:
    server = Secure(settings)
    try:
        yield server
    finally:
        server.close()


@pytest.fixture(scope="module")
def icap() -> Iterator[Secure]:
    with running("header_seconds = 1\nbody_seconds = 30\nidle_seconds = 30\n") as server:
        yield server


def is_closed(client: socket.socket, seconds: float = 30) -> bool:
    client.settimeout(seconds)
    try:
        while client.recv(65536):
            pass
    except TimeoutError:
        return False
    except (ConnectionError, ssl.SSLError):
        pass
    return True


@pytest.mark.slow
def test_attack_slow_head_over_tls_ends_with_408(icap: Secure) -> None:
    with icap.connect_tls() as client:
        client.sendall(FINE)
        assert read_answer(client).status == 204
        started = time.monotonic()
        client.settimeout(0.05)
        answer = b""
        for byte in LISTED * 9:
            with suppress(ConnectionError, ssl.SSLError):
                client.send(bytes([byte]))
            with suppress(TimeoutError):
                answer = client.recv(4096)
                break
        assert answer.startswith(b"ICAP/1.0 408 ")
        assert time.monotonic() - started > 0.9


@pytest.mark.slow
def test_attack_slow_handshake_is_cut_off(icap: Secure) -> None:
    with icap.connect_raw() as client:
        started = time.monotonic()
        # A ClientHello of 512 bytes, a byte at a time.
        client.sendall(b"\x16\x03\x01\x02\x00\x01")
        client.settimeout(0.05)
        with suppress(ConnectionError):
            for _ in range(200):
                client.send(b"\0")
                with suppress(TimeoutError):
                    assert client.recv(100) == b""
                    break
            else:
                pytest.fail("a handshake may take as long as it likes")
        assert time.monotonic() - started > 0.9


def test_plain_bytes_on_the_tls_port_end_the_connection(icap: Secure) -> None:
    with icap.connect_raw() as client:
        client.sendall(FINE)
        assert is_closed(client)


def test_client_that_leaves_in_its_handshake_is_forgotten(icap: Secure) -> None:
    for _ in range(20):
        with icap.connect_raw() as client:
            client.sendall(b"\x16\x03\x01\x02\x00\x01")
    with icap.connect_tls() as client:
        client.sendall(FINE)
        assert read_answer(client).status == 204


@pytest.mark.slow
def test_attack_thousand_idle_tls_connections_take_no_threads() -> None:
    with running("connections = 1100\nheader_seconds = 60\n") as server, ExitStack() as stack:
        before = server.memory_kib()
        idle = [stack.enter_context(server.connect_tls()) for _ in range(1000)]
        for client in idle[::2]:
            client.sendall(FINE[:20])
        for _ in range(50):
            stack.enter_context(server.connect_raw()).sendall(b"\x16\x03\x01")
        assert server.threads() < 20
        assert server.memory_kib() - before < 120_000
        with server.connect_tls() as client:
            for message, status in ((FINE, 204), (LISTED, 200)):
                client.sendall(message)
                assert read_answer(client).status == status
        idle[0].sendall(FINE[20:])
        assert read_answer(idle[0]).status == 204
        idle[1].sendall(LISTED)
        assert read_answer(idle[1]).http_status == 403


@pytest.mark.slow
def test_idle_tls_connections_make_room() -> None:
    with running("connections = 10\n") as server, ExitStack() as stack:
        idle = [stack.enter_context(server.connect_tls()) for _ in range(30)]
        assert all(is_closed(client) for client in idle[:20])
        idle[-1].sendall(FINE)
        assert read_answer(idle[-1]).status == 204
        with server.connect() as client:
            client.sendall(options("reqmod"))
            assert read_answer(client).status == 200


@pytest.mark.slow
def test_message_on_a_waiting_tls_connection_is_judged_by_the_rules_in_use() -> None:
    with running("") as server, ExitStack() as stack:
        waiting, begun = (stack.enter_context(server.connect_tls()) for _ in range(2))
        message = reqmod(http_request("http://added.example/"))
        for client in (waiting, begun):
            client.sendall(message)
            answer = read_answer(client)
            assert answer.status == 204
            before = answer.fields["istag"]
        begun.sendall(message[:50])
        server.installation.add("more", attribute("domain", "added.example"))
        server.installation.refresh()
        wait_until(lambda: server.istag() != before, "the new rules")
        waiting.sendall(message)
        begun.sendall(message[50:])
        for client in (waiting, begun):
            answer = read_answer(client)
            assert answer.http_status == 403
            assert answer.fields["istag"] != before


def test_long_body_over_tls_comes_back_byte_for_byte(icap: Secure) -> None:
    body = bytes(range(256)) * 4000
    request = http_request("http://fine.example/form", "POST")
    with icap.connect_tls() as client:
        message = reqmod(request, chunked(body), allow="")
        sender = threading.Thread(target=client.sendall, args=(message,))
        sender.start()
        assert read_answer(client).body == body
        sender.join()
        client.sendall(FINE + LISTED)
        data = b""
        while b"X-Inkgate-Incident" not in data:
            data += client.recv(65536)
        assert data.startswith(b"ICAP/1.0 204 ")


@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.slow
def test_answers_that_are_taken_late_are_all_there(icap: Secure, secure: bool) -> None:
    with icap.connect_tls() if secure else icap.connect() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        # Longer than a busy machine keeps the server waiting.
        client.settimeout(2)
        sent = 0
        with suppress(TimeoutError):
            while sent < 200_000:
                client.sendall(FINE)
                sent += 1
        assert 1000 < sent < 200_000
        # What was cut short is not sent again: only whole messages are answered.
        client.settimeout(30)
        taken = 0
        rest = b""
        while taken < sent:
            data = client.recv(1 << 20)
            assert data
            *whole, rest = (rest + data).split(b"\r\n\r\n")
            taken += sum(answer.startswith(b"ICAP/1.0 204 ") for answer in whole)


def test_proxy_without_its_certificate_is_refused(tmp_path: Path) -> None:
    with running('tls_client_ca = "ca.pem"\n') as server:
        folder = server.installation.folder
        foreign = Authority().issue(tmp_path / "foreign.pem", "localhost")
        for pem, is_known in ((None, False), (foreign, False), (folder / "icap.pem", True)):
            context = ssl.create_default_context(cafile=str(folder / "ca.pem"))
            if pem:
                context.load_cert_chain(pem)
            answer = b""
            with suppress(OSError), server.connect_raw() as raw:
                client = context.wrap_socket(raw, server_hostname="localhost")
                client.sendall(LISTED)
                answer = client.recv(100)
            assert answer.startswith(b"ICAP/1.0 200") == is_known
