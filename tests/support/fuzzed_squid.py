"""Odd heads sent through a real Squid, and what has to be true of it after each."""

from __future__ import annotations

import hashlib
import random
import re
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Final, NamedTuple

from inkgate.icap_server.settings import Fail
from support.fuzzed_heads import CLEAN, LISTED, reply, request_head
from support.icap_squid import IcapSquid
from support.installation import SETTINGS, Installation, attribute
from support.status import complaints, status

_SECONDS: Final = 4
_AT_ONCE: Final = 8
_MOST: Final = 1 << 20
_HOST: Final = re.compile(rb"\r?\nhost[ \t]*:[ \t]*([^\r\n]*)", re.IGNORECASE)
_BODY: Final = random.Random(1).randbytes(3000)
_ENDS_OF_SQUID: Final = ("Traceback", "assertion", "FATAL", "suspended", "unexpected reply")
_BROKEN: Final = {"message-failed", "lookup-failed", "process-died", "line-refused"}


class _Origin:
    """A web server that keeps the heads it gets, and answers with what is laid ready."""

    def __init__(self) -> None:
        self.heads: list[bytes] = []
        self.replies: dict[bytes, bytes] = {}
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=200)
        self.port = int(self._listening.getsockname()[1])
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._listening.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                peer, _ = self._listening.accept()
                threading.Thread(target=self._answer, args=(peer,), daemon=True).start()

    def _answer(self, peer: socket.socket) -> None:
        with peer, suppress(OSError):
            peer.settimeout(_SECONDS)
            head = b""
            while b"\r\n\r\n" not in head and len(head) < _MOST and (data := peer.recv(65_536)):
                head += data
            self.heads.append(head)
            found = re.search(rb"/reply/[0-9a-f]+", head)
            usual = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"
            peer.sendall(self.replies.get(found[0], usual) if found else usual)
            peer.shutdown(socket.SHUT_WR)
            while peer.recv(65_536):
                pass


class Passed(NamedTuple):
    """What should not have happened, and from which input."""

    what: str
    sent: bytes


class FuzzedSquid:
    """A Squid with a front end, and a web server, both of whom get odd heads."""

    def __init__(self, installation: Installation, front_end: str, fail: Fail) -> None:
        self._installation = installation
        self._origin = _Origin()
        self._squid = IcapSquid(
            installation, fail=fail, is_helper=front_end == "helper", origin=self._origin
        )
        self._checks_bodies = front_end == "icap"
        self._number = 0

    def close(self) -> None:
        self._squid.close()

    def round(self, choose: random.Random, count: int) -> list[Passed]:
        """Send so many heads, and look what became of them and of everybody else."""
        heads = [request_head(choose) for _ in range(count // 2)]
        replies = [reply(choose, _BODY) for _ in range(count - len(heads))]
        self._origin.heads.clear()
        found: list[Passed] = []
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(self._send, heads))
            if self._checks_bodies:
                found += filter(None, pool.map(self._load, replies))
            else:
                list(pool.map(self._load, replies))
            # The answers still belong to their requests.
            found += filter(None, pool.map(self._ask, range(24)))
        listed = [head for head in self._origin.heads if _is_for_listed(head)]
        found += (Passed("a request for a listed host reached its server", h) for h in listed)
        return found + self._said()

    def _send(self, data: bytes) -> bytes:
        got = b""
        with suppress(OSError), self._connected() as client:
            client.sendall(data)
            with suppress(TimeoutError):
                # Squid waits for the end of some of them.
                client.settimeout(0.5)
                while len(got) < _MOST and (more := client.recv(65_536)):
                    got += more
        return got

    def _load(self, raw: bytes) -> Passed | None:
        path = b"/reply/%s" % hashlib.sha256(raw).hexdigest()[:20].encode()
        self._origin.replies[path] = raw
        request = b"GET http://%b%b HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        got = self._exchange(request % (CLEAN.encode(), path))
        if self._checks_bodies and _payload(got) == _BODY:
            return Passed("a listed file arrived whole", raw)
        return None

    def _ask(self, number: int) -> Passed | None:
        listed = number % 2
        self._number += 1
        host = LISTED if listed else f"clean{self._number}.example"
        got = self._exchange(
            b"GET http://%b/%d HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
            % (host.encode(), number)
        )
        wanted = b"HTTP/1.1 403 " if listed else b"HTTP/1.1 200 "
        if not got.startswith(wanted) or (listed and b"IG-" not in got):
            return Passed(f"{host} afterwards: {got[:60]!r}", b"")
        return None

    def _exchange(self, data: bytes) -> bytes:
        got = b""
        with suppress(OSError), self._connected() as client:
            client.sendall(data)
            while len(got) < _MOST and (more := client.recv(65_536)):
                got += more
        return got

    @contextmanager
    def _connected(self) -> Iterator[socket.socket]:
        with socket.create_connection(("127.0.0.1", self._squid.port), 10) as client:
            client.settimeout(10)
            yield client

    def _said(self) -> list[Passed]:
        """What logs and counters tell of inkgate's own faults, or of Squid's end."""
        squid = (self._squid.folder / "cache.log").read_text(errors="replace")
        said = [line for line in complaints(self._squid.icap.log) if "body-unchecked" not in line]
        said += [line for line in squid.splitlines() if _is_bad(line)]
        rows = status(self._installation).rows
        said += [
            f"{name}: {rows[name]}" for name in _BROKEN & rows.keys() if rows[name]["data"]["count"]
        ]
        if self._squid.process.poll() is not None:
            said.append("Squid has ended")
        return [Passed(line, b"") for line in said]


def _is_bad(line: str) -> bool:
    if any(
        word in line
        for word in ("Traceback", "assertion", "FATAL", "suspended", "unexpected reply")
    ):
        return True
    return "inkgate-helper[" in line and (": critical: " in line or ": warning: " in line)


def _is_for_listed(head: bytes) -> bool:
    found = _HOST.search(head)
    # A server takes the last labels; what is not a name of DNS does not lead to it.
    host = found[1].lower().rpartition(b"@")[2].partition(b":")[0].rstrip(b".") if found else b""
    return host == LISTED.encode() or host.endswith(b"." + LISTED.encode())


def _payload(got: bytes) -> bytes:
    """The body of an answer, as its last head says that it is sent."""
    head, _, rest = got.partition(b"\r\n\r\n")
    while re.match(rb"HTTP/1\.[01] 1\d\d ", head):
        head, _, rest = rest.partition(b"\r\n\r\n")
    if not re.search(rb"(?i)\r\ntransfer-encoding:[ \t]*chunked", head):
        return rest
    body = b""
    while found := re.match(rb"0*([0-9a-fA-F]{1,8})[^\r\n]*\r\n", rest):
        size = int(found[1], 16)
        body += rest[found.end() : found.end() + size]
        rest = rest[found.end() + size + 2 :]
        if not size:
            break
    return body


@contextmanager
def fuzzed_squid(front_end: str, fail: Fail) -> Iterator[FuzzedSquid]:
    """A Squid with rules for `LISTED` and for a file."""
    installation = Installation(SETTINGS.replace('fail = "open"', f'fail = "{fail}"'))
    installation.add(
        "listed",
        attribute("domain", LISTED),
        attribute("sha256", hashlib.sha256(_BODY).hexdigest()),
        # So that the helper reads User-Agents.
        attribute("user-agent", "EvilBot/1.0"),
    )
    installation.refresh()
    squid = FuzzedSquid(installation, front_end, fail)
    try:
        yield squid
    finally:
        squid.close()
        installation.close()
