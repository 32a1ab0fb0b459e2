"""One client with many connections, as a process of its own. Ends at SIGTERM, or when it is done.

Prints how many answers it has got. Its connections come from an address of their own. It asks
at a steady rate for as long as a connection is free: without one it would be Squid, which has
one thread, that keeps others waiting.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import resource
import select
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator

KINDS = ("random IPv4", "random IPv6", "new names", "known name", "huge headers", "held downloads",
         "half heads", "strangers")  # fmt: skip
NOBODY = 65_534
_RANDOM = random.Random(2016)
_READ_BYTES = 1 << 16
_AT_ONCE = 64
_PAUSE_SECONDS = 0.1
_TICK_SECONDS = 0.01
_BURST = 50.0


def random_v4() -> str:
    return ".".join(str(_RANDOM.randrange(1, 255)) for _ in range(4))


def random_v6() -> str:
    groups = [0x2000 + _RANDOM.randrange(0x1000), *(_RANDOM.randrange(1 << 16) for _ in range(7))]
    return ":".join(f"{group:x}" for group in groups)


def _get(host: str, path: str = "/", agent: str = "flood/1") -> bytes:
    lines = (f"GET http://{host}{path} HTTP/1.1", f"Host: {host}", f"User-Agent: {agent}")
    return "\r\n".join([*lines, "", ""]).encode()


REQUESTS: dict[str, Callable[[int], bytes]] = {
    "random IPv4": lambda n: _get(random_v4(), f"/{n}"),
    "random IPv6": lambda n: _get(f"[{random_v6()}]", f"/{n}"),
    "new names": lambda n: _get(f"new{n}.example"),
    "known name": lambda n: _get("host1.example", f"/{n}"),
    "huge headers": lambda n: _get("host1.example", f"/{n}", f"{n}" + "x" * 60_000),
    "held downloads": lambda _: _get("host1.example", "/large/file"),
    # Whoever may ask: a proxy that sends half a head.
    "half heads": lambda _: b"REQMOD icap://127.0.0.1/reqmod ICAP/1.0\r\nHost: 127.0.0.1\r\nX-",
    # Whoever may not.
    "strangers": lambda _: b"OPTIONS icap://127.0.0.1/reqmod ICAP/1.0\r\nHost: 127.0.0.1\r\n\r\n",
}
HOLDING = ("held downloads", "half heads")


class Client:
    """One of the connections."""

    def __init__(self, connected: socket.socket) -> None:
        self.socket = connected
        self.unsent = b""
        self.unread = b""


class Flood:
    """All of them.

    Args:
        options: what the command line says.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._poll = select.epoll()
        self._clients: dict[int, Client] = {}
        self._idle: deque[Client] = deque()
        self._again_at = self._asked_at = time.monotonic()
        self._may_ask = 0.0
        self._sent = 0
        self.answers = 0
        self.is_over = False

    def run(self) -> None:
        """Until SIGTERM, or until so many requests are answered as were asked for."""
        most = self._options.requests
        while not self.is_over and not (most and self.answers >= most):
            self._connect_some()
            self._ask()
            for fd, events in self._poll.poll(_TICK_SECONDS):
                if (client := self._clients.get(fd)) is None:
                    continue
                try:
                    self._act(client, events)
                except OSError:
                    self._close(client)

    def _connect_some(self) -> None:
        if time.monotonic() < self._again_at:
            return
        for _ in range(min(_AT_ONCE, self._options.connections - len(self._clients))):
            connected = socket.socket()
            connected.setsockopt(socket.IPPROTO_IP, socket.IP_BIND_ADDRESS_NO_PORT, 1)
            if self._options.kind in HOLDING:
                connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connected.bind((self._options.address, 0))
            connected.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                connected.connect(("127.0.0.1", self._options.port))
            client = self._clients[connected.fileno()] = Client(connected)
            self._poll.register(connected, 0)
            self._idle.append(client)

    def _ask(self) -> None:
        now = time.monotonic()
        passed, self._asked_at = now - self._asked_at, now
        self._may_ask = min(self._may_ask + passed * self._options.rate, _BURST)
        while self._may_ask >= 1 and self._idle:
            client = self._idle.popleft()
            if client.socket.fileno() < 0:
                continue
            self._may_ask -= 1
            self._sent += 1
            client.unsent = REQUESTS[self._options.kind](self._options.first + self._sent)
            self._poll.modify(client.socket, select.EPOLLOUT)

    def _act(self, client: Client, events: int) -> None:
        if client.unsent:
            client.unsent = client.unsent[client.socket.send(client.unsent) :]
            if not client.unsent:
                self._poll.modify(client.socket, select.EPOLLIN)
        elif events:
            self._read(client)

    def _read(self, client: Client) -> None:
        data = client.socket.recv(100 if self._options.kind in HOLDING else _READ_BYTES)
        if not data:
            self._close(client)
        elif self._options.kind in HOLDING:
            # Nothing more is read of it.
            self.answers += 1
            self._poll.modify(client.socket, 0)
        else:
            client.unread += data
            if _is_whole(client.unread):
                self.answers += 1
                client.unread = b""
                self._idle.append(client)

    def _close(self, client: Client) -> None:
        self._poll.unregister(client.socket)
        del self._clients[client.socket.fileno()]
        client.socket.close()
        if not client.unread and self._options.kind == "strangers":
            # Refused: at once again, but not with all of the processor.
            self._again_at = time.monotonic() + _PAUSE_SECONDS


def _is_whole(answer: bytes) -> bool:
    head, end, body = answer.partition(b"\r\n\r\n")
    if not end:
        return False
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return len(body) >= int(value)
    return b"chunked" not in head.lower() or body.endswith(b"0\r\n\r\n")


def words(options: argparse.Namespace) -> Iterator[str]:
    """The command line of a flooder."""
    for name, value in vars(options).items():
        yield f"--{name}={value}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kind", choices=KINDS, required=True)
    parser.add_argument("--port", type=int, required=True, help="Squid's, or ICAP's")
    parser.add_argument("--address", required=True, help="of the flooder")
    parser.add_argument("--connections", type=int, required=True)
    parser.add_argument("--rate", type=float, required=True, help="requests a second")
    parser.add_argument("--first", type=int, default=0, help="number before the first request's")
    parser.add_argument("--requests", type=int, default=0, help="then it ends; 0: never")
    options = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if options.kind == "strangers" and os.getuid() == 0:
        os.setuid(NOBODY)
    flood = Flood(options)

    def end(*_: object) -> None:
        flood.is_over = True

    signal.signal(signal.SIGTERM, end)
    flood.run()
    sys.stdout.write(f"{flood.answers}\n")


if __name__ == "__main__":
    main()
