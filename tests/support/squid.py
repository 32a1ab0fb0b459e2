"""A real Squid, started as `make run` starts it."""

from __future__ import annotations

import contextlib
import re
import signal
import socket
import subprocess
from http.client import HTTPConnection
from pathlib import Path
from typing import NamedTuple

from support.installation import BIN, Installation
from support.logs import wait_for_line
from support.waiting import wait_until

INCIDENT = re.compile(r"IG-[0-9A-HJKMNP-TV-Z]{10}")


class Reply(NamedTuple):
    status: int
    body: str
    squid_error: str | None = None
    """The header in which Squid names the page of its own that it shows."""

    @property
    def incident(self) -> str | None:
        found = INCIDENT.search(self.body)
        return found[0] if found else None


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until_listening(squid: subprocess.Popen[bytes], port: int, log: Path) -> None:
    """Wait until a Squid takes connections; what its cache.log says if it does not."""

    def is_listening() -> bool:
        assert squid.poll() is None, log.read_text()[-2000:]
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return True
        return False

    wait_until(is_listening, f"Squid on port {port}")


class Squid:
    """A Squid over an installation; end it with `close`."""

    def __init__(self, installation: Installation) -> None:
        self.port = free_port()
        self.folder = installation.folder / "squid"
        self.process = subprocess.Popen(
            [
                BIN / "inkgate-squid-conf",
                "run",
                "--state",
                installation.folder,
                "--port",
                str(self.port),
            ],
            stdout=subprocess.PIPE,
            text=True,
        )
        said = ""
        assert self.process.stdout
        for line in self.process.stdout:
            said += line
            if "Ctrl-C" in line:
                break
        else:
            raise AssertionError(f"Squid did not start: {said}")
        self.origin = int(re.search(r"neighbour\.example:(\d+)", said)[1])  # type: ignore[index]

    def get(self, url: str, method: str = "GET", **headers: str) -> Reply:
        """Ask for a URL as a client of a proxy does."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.putrequest(method, url, skip_host=True, skip_accept_encoding=True)
            connection.putheader("Host", "ignored.example")
            for name, value in headers.items():
                connection.putheader(name.replace("_", "-"), value)
            connection.endheaders()
            reply = connection.getresponse()
            # Squid's refusal of a CONNECT has a body that http.client leaves unread.
            body = reply.read().decode("utf-8", "replace")
            return Reply(reply.status, body, reply.headers["X-Squid-Error"])
        finally:
            connection.close()

    def raw(self, target: bytes) -> Reply:
        """Ask for a URL that no library would send."""
        with socket.create_connection(("127.0.0.1", self.port), 60) as client:
            client.sendall(
                b"GET "
                + target
                + b" HTTP/1.1\r\nHost: ignored.example\r\nConnection: close\r\n\r\n"
            )
            data = b"".join(iter(lambda: client.recv(65536), b""))
        head, _, body = data.partition(b"\r\n\r\n")
        return Reply(int(head.split(b" ", 2)[1]), body.decode("utf-8", "replace"))

    def connect(self, authority: str) -> Reply:
        """Ask for a tunnel; the body is the refusal's."""
        with socket.create_connection(("127.0.0.1", self.port), 60) as client:
            client.sendall(f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode())
            data = b""
            while b"\r\n\r\n" not in data:
                data += client.recv(65536)
            status = int(data.split(b" ", 2)[1])
            if status != 200:
                while b"</html>" not in data and (piece := client.recv(65536)):
                    data += piece
        return Reply(status, data.partition(b"\r\n\r\n")[2].decode("utf-8", "replace"))

    def access_log(self, text: str) -> str:
        """The first line of access.log with a text in it; Squid writes it a little later."""
        return wait_for_line(self.folder / "access.log", re.escape(text))

    def close(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)
        assert self.process.stdout
        self.process.stdout.close()
