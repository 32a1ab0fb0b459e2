"""A private redis-server in a temporary folder, which can be stopped and killed."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Self

import redis

from support.squid import free_port
from support.waiting import wait_until


class RedisServer:
    """Debian's redis-server with an append-only file.

    Args:
        more: further lines of redis.conf.
        port: where to listen; a free one by default.
        scheme: `redis` or `rediss`, for `url`.
    """

    def __init__(self, *more: str, scheme: str = "redis", port: int = 0) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="inkgate-redis-"))
        self.port = port or free_port()
        self.url = f"{scheme}://127.0.0.1:{self.port}"
        listen = f"port {self.port}" if scheme == "redis" else f"port 0\ntls-port {self.port}"
        self.conf = self.folder / "redis.conf"
        self.conf.write_text(
            f"{listen}\nbind 127.0.0.1\ndir {self.folder}\nappendonly yes\n"
            "appendfsync everysec\nsave 3600 1\ndaemonize no\nlogfile redis.log\n"
            + "\n".join(more)
            + "\n"
        )
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Start it and wait until it listens."""
        log = self.folder / "redis.log"
        log.unlink(missing_ok=True)
        self.process = subprocess.Popen(
            ["/usr/bin/redis-server", self.conf], stdout=subprocess.DEVNULL
        )

        def is_ready() -> bool:
            said = log.read_text() if log.exists() else ""
            assert self.process
            assert self.process.poll() is None, f"redis-server did not start: {said}"
            return "Ready to accept connections" in said

        wait_until(is_ready, f"redis-server on port {self.port}")

    def stop(self) -> None:
        """SIGTERM: it writes all to disk and ends."""
        assert self.process
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)

    def kill(self) -> None:
        """SIGKILL."""
        assert self.process
        self.process.kill()
        self.process.wait(60)

    def stand_in(self, connections: int) -> None:
        """While it is stopped: drop so many connections that clients make to its port."""
        with socket.create_server(("127.0.0.1", self.port)) as listening:
            listening.settimeout(60)
            for _ in range(connections):
                listening.accept()[0].close()

    def client(self, **more: Any) -> redis.Redis:
        """A client of this server."""
        return redis.Redis(port=self.port, **more)

    def close(self) -> None:
        assert self.process
        if self.process.poll() is None:
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)
