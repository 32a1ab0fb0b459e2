"""A running inkgate-icap, and ICAP messages written by hand."""

from __future__ import annotations

import signal
import socket
import subprocess
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import NamedTuple

from support.installation import BIN, Installation
from support.squid import free_port
from support.waiting import wait_until

REST_OF_BODY = b"cde\r\n0\r\n\r\n"


class Answer(NamedTuple):
    status: int
    fields: dict[str, str]
    headers: bytes
    body: bytes
    ended: bool

    @property
    def http_status(self) -> int:
        return int(self.headers.split(b" ", 2)[1])


class Icap:
    """inkgate-icap over an installation; end it with `close`.

    Unless it `remembers`, no verdict on a reply counts for later requests: messages written by
    hand are all of one URL.
    """

    def __init__(
        self,
        installation: Installation,
        settings: str = "",
        workers: int = 1,
        *,
        remembers: bool = False,
    ) -> None:
        self.port = free_port()
        if not remembers:
            installation.configure("remember_server_minutes = 0\nremember_file_hours = 0")
        with installation.config.open("a") as file:
            file.write(
                f'\n[icap]\nlisten = "127.0.0.1:{self.port}"\nworkers = {workers}\n{settings}'
            )
        self.log_path = installation.folder / "icap.log"
        with self.log_path.open("w") as log:
            self.process = subprocess.Popen(
                [BIN / "inkgate-icap", "--config", installation.config], stderr=log
            )
        wait_until(self._answers, f"inkgate-icap on port {self.port}")

    @property
    def log(self) -> str:
        return self.log_path.read_text()

    def connect(self, seconds: float = 30) -> socket.socket:
        client = socket.create_connection(("127.0.0.1", self.port), seconds)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return client

    def ask(self, data: bytes) -> Answer:
        """Send one message on a connection of its own."""
        with self.connect() as client:
            client.sendall(data)
            return read_answer(client)

    def istag(self) -> str:
        """What tells one set of rules in use from another."""
        return self.ask(options("reqmod")).fields["istag"]

    def workers(self) -> list[int]:
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in path.read_text().split()]

    def memory_kib(self) -> int:
        """Resident memory of all workers."""
        total = 0
        for pid in self.workers():
            for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                if line.startswith("VmRSS"):
                    total += int(line.split()[1])
        return total

    def close(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)

    def _answers(self) -> bool:
        assert self.process.poll() is None, f"inkgate-icap did not start: {self.log}"
        with suppress(OSError), self.connect(5) as client:
            client.sendall(options("reqmod"))
            # One worker may answer before all of them do.
            return bool(client.recv(1)) and "listening on" in self.log
        return False


def occupy(server: Icap, stack: ExitStack) -> socket.socket:
    """A connection that a handler has, so that it cannot be sent away.

    Its answer has begun, and waits for `REST_OF_BODY`.
    """
    client = stack.enter_context(server.connect())
    request = http_request("http://fine.example/form", "POST")
    client.sendall(reqmod(request, b"5\r\nab", allow=""))
    begun = client.recv(16, socket.MSG_PEEK)
    assert begun == b"ICAP/1.0 200 OK\r", begun
    return client


def http_request(uri: str = "http://fine.example/", method: str = "GET", **fields: str) -> bytes:
    lines = [f"{method} {uri} HTTP/1.1", "Host: fine.example"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()]
    return "\r\n".join([*lines, "", ""]).encode()


def http_response(length: int | None = None, **fields: str) -> bytes:
    lines = ["HTTP/1.1 200 OK"] + ([] if length is None else [f"Content-Length: {length}"])
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()]
    return "\r\n".join([*lines, "", ""]).encode()


def chunked(body: bytes, size: int = 4096) -> bytes:
    pieces = [body[i : i + size] for i in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(p), p) for p in pieces) + b"0\r\n\r\n"


def options(service: str) -> bytes:
    return f"OPTIONS icap://icap.test/{service} ICAP/1.0\r\nHost: icap.test\r\n\r\n".encode()


def reqmod(
    request: bytes,
    body: bytes | None = None,
    *,
    allow: str = "204",
    preview: int | None = None,
    extra: str = "",
) -> bytes:
    """A REQMOD message; a body's framing is given with it."""
    kind = "null" if body is None else "req"
    head = "REQMOD icap://icap.test/reqmod ICAP/1.0\r\nHost: icap.test\r\n"
    head += f"Encapsulated: req-hdr=0, {kind}-body={len(request)}\r\n"
    head += f"Preview: {preview}\r\n" if preview is not None else ""
    head += f"Allow: {allow}\r\n" if allow else ""
    return f"{head}X-Client-IP: 192.0.2.7\r\n{extra}\r\n".encode() + request + (body or b"")


def respmod(
    request: bytes,
    response: bytes,
    body: bytes | None = None,
    *,
    allow: str = "204",
    preview: int | None = None,
    extra: str = "",
) -> bytes:
    """A RESPMOD message; a body's framing is given with it."""
    kind = "null" if body is None else "res"
    head = "RESPMOD icap://icap.test/respmod ICAP/1.0\r\nHost: icap.test\r\n"
    head += f"Encapsulated: req-hdr=0, res-hdr={len(request)}, "
    head += f"{kind}-body={len(request) + len(response)}\r\n"
    head += f"Preview: {preview}\r\n" if preview is not None else ""
    head += f"Allow: {allow}\r\n" if allow else ""
    head = f"{head}X-Client-IP: 192.0.2.7\r\n{extra}\r\n"
    return head.encode() + request + response + (body or b"")


def read_answer(client: socket.socket) -> Answer:
    """Read one answer, strictly: every length it gives has to be right."""
    file = client.makefile("rb")
    start = file.readline()
    if not start:
        raise ConnectionError("closed without an answer")
    assert start.endswith(b"\r\n"), start
    version, status, _ = start.decode("ascii").split(" ", 2)
    assert version == "ICAP/1.0"
    fields: dict[str, str] = {}
    while (line := file.readline()) != b"\r\n":
        assert line.endswith(b"\r\n"), line
        name, _, value = line.decode("ascii").strip().partition(": ")
        assert name.lower() not in fields, name
        fields[name.lower()] = value
    if status == "100":
        return Answer(100, fields, b"", b"", False)
    parts = [part.strip().split("=") for part in fields["encapsulated"].split(",")]
    headers = file.read(int(parts[-1][1]))
    if len(parts) > 1:
        assert headers.endswith(b"\r\n\r\n")
    body, ended = b"", True
    if parts[-1][0] != "null-body":
        body, ended = _read_chunks(file)
    return Answer(int(status), fields, headers, body, ended)


def _read_chunks(file: socket.SocketIO) -> tuple[bytes, bool]:  # type: ignore[valid-type]
    body = bytearray()
    while True:
        line = file.readline()
        if not line.endswith(b"\r\n"):
            return bytes(body), False
        size = int(line, 16)
        if not size:
            assert file.readline() == b"\r\n"
            return bytes(body), True
        data = file.read(size + 2)
        if len(data) < size + 2:
            return bytes(body + data), False
        assert data[-2:] == b"\r\n"
        body += data[:-2]
