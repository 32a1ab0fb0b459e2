"""Real Squids side by side, a local nginx behind them, and wrk in front of them."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil

from inkgate.squid_conf.check import SQUID_USER
from inkgate.squid_conf.minimal import minimal
from support.squid import free_port

_LUA = Path(__file__).with_name("requests.lua")
_START_SECONDS = 120
HOSTS = 20_000
NEW_NAMES = 150_000
DISTANCE_MS = 20
_LARGE_BYTES = 1_000_000
_LINES = f"\naccess_log none\ncache_store_log none\nipcache_size {HOSTS + NEW_NAMES}\n"


def program(name: str) -> str:
    """Where a program is.

    Raises:
        SystemExit: it is not installed.
    """
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")
    if found is None:
        raise SystemExit(f"{name} is missing; tools/bootstrap.sh dev installs it")
    return found


def folder_for_squid() -> Path:
    """A temporary folder that belongs to Squid's user."""
    folder = Path(tempfile.mkdtemp(prefix="inkgate-bench-"))
    if os.getuid() == 0:
        entry = pwd.getpwnam(SQUID_USER)
        os.chown(folder, entry.pw_uid, entry.pw_gid)
    folder.chmod(0o755)
    return folder


class Origin:
    """An nginx on 127.0.0.1 that answers everything with a small page.

    What is below /distant/ it answers `DISTANCE_MS` later, as a server would that is so far
    away. Only refusals of a user can be put off without a module of nginx's; here each
    request is refused as one without a user, and gets the page instead of the refusal. Below
    /large/ is a file of 1 MB.
    """

    def __init__(self) -> None:
        self.port = free_port()
        self.folder = folder_for_squid()
        page = 'return 200 "This page is not blocked.\\n";'
        (self.folder / "large").mkdir()
        (self.folder / "large" / "file").write_bytes(os.urandom(_LARGE_BYTES))
        conf = self.folder / "nginx.conf"
        conf.write_text(
            f"worker_processes 1;\ndaemon off;\npid {self.folder}/nginx.pid;\n"
            f"error_log {self.folder}/error.log;\nevents {{ worker_connections 16384; }}\n"
            "http {\n access_log off;\n keepalive_requests 1000000;\n"
            f" server {{ listen 127.0.0.1:{self.port};\n"
            f"  location / {{ {page} }}\n"
            f"  location /large/ {{ root {self.folder}; }}\n"
            f"  location /distant/ {{ auth_delay {DISTANCE_MS}ms; auth_basic inkgate;\n"
            "   auth_basic_user_file /dev/null; error_page 401 =200 @page; }\n"
            f"  location @page {{ auth_basic off; {page} }}\n"
            " }\n}\n"
        )
        self._process = subprocess.Popen(
            [program("nginx"), "-c", conf, "-p", self.folder, "-e", f"{self.folder}/error.log"]
        )

    def close(self) -> None:
        self._process.terminate()
        self._process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


class Proxy:
    """A Squid with some lines of configuration of its own.

    With `is_for_all` its clients have any address of 127.0.0.0/8, and the origin any address.
    """

    def __init__(
        self,
        name: str,
        lines: str,
        origin: Origin,
        *,
        is_resolving: bool = True,
        hosts: int = HOSTS,
        is_for_all: bool = False,
    ) -> None:
        self.name = name
        self.hosts = hosts
        self.port = free_port()
        self.folder = folder_for_squid()
        # Debian's Squid looks up every host for its network database, also where a parent
        # answers. Without a name server it is mostly waiting look-ups that one measures.
        names = _names() if is_resolving else ("localhost",)
        (self.folder / "hosts").write_text("".join(f"127.0.0.1 {name}\n" for name in names))
        conf = self.folder / "squid.conf"
        text = minimal(
            port=self.port,
            folder=self.folder,
            fragment=lines + _LINES,
            user=SQUID_USER if os.getuid() == 0 else None,
            origin=origin.port,
        )
        conf.write_text(_for_all(text) if is_for_all else text)
        self.process = subprocess.Popen(
            [program("squid"), "-N", "-f", conf, "-n", f"bench{self.port}"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._wait_until_up()

    def _wait_until_up(self) -> None:
        end = time.monotonic() + _START_SECONDS
        while time.monotonic() < end and self.process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                time.sleep(0.1)
            else:
                return
        raise SystemExit(f"{self.name}: Squid did not start; see {self.folder}/cache.log")

    def cpu_seconds(self) -> dict[str, float]:
        """What Squid and its helpers have used so far."""
        squid = psutil.Process(self.process.pid)
        helpers = [sum(child.cpu_times()[:2]) for child in squid.children(recursive=True)]
        return {"squid": sum(squid.cpu_times()[:2]), "helpers": sum(helpers)}

    def load(
        self,
        seconds: float,
        *,
        connections: int = 32,
        pause: int = 0,
        fresh: int | None = None,
        path: str = "a",
    ) -> Load:
        """Begin to load it; the arguments are those of `Load`."""
        return Load(
            self.port,
            seconds,
            hosts=self.hosts,
            connections=connections,
            pause=pause,
            fresh=fresh,
            path=path,
        )

    def close(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def _for_all(text: str) -> str:
    """A configuration for clients with several addresses on one machine."""
    loopback = "acl loopback src 127.0.0.0/8\nhttp_access deny !loopback"
    return (
        text.replace("http_access deny !localhost", loopback)
        .replace("http_access allow localhost", "http_access allow loopback")
        # Without -n Squid asks a name server for the names of addresses, and waits for it.
        .replace("acl sample_names dstdomain", "acl sample_names dstdomain -n")
        .replace("acl sample_addresses dst -n", "acl sample_addresses src 127.0.0.0/8 #")
    )


def _names() -> Iterator[str]:
    yield "localhost"
    yield from (f"host{number}.example" for number in range(1, HOSTS + 1))
    yield from (f"new{number}.example" for number in range(1, NEW_NAMES + 1))


class Load:
    """A wrk under way; `result` waits for its end.

    Args:
        port: the proxy's.
        seconds: how long.
        connections: how many at a time.
        pause: milliseconds from an answer to the connection's next request.
        hosts: how many hosts are asked for.
        fresh: a new name for each request, numbered from here, else Zipf over the hosts.
        path: the first part of each URL's path.
    """

    def __init__(
        self,
        port: int,
        seconds: float,
        *,
        hosts: int = HOSTS,
        connections: int = 32,
        pause: int = 0,
        fresh: int | None = None,
        path: str = "a",
    ) -> None:
        environment = {
            **os.environ,
            "PAUSE": str(pause),
            "FRESH": "" if fresh is None else str(fresh),
            "HOSTS": str(hosts),
            "FOLDER": path,
            "SEED": str(time.monotonic_ns() % 2**31),
        }
        self._process = subprocess.Popen(
            [
                program("wrk"),
                "-t1",
                f"-c{connections}",
                f"-d{max(1, round(seconds))}s",
                "--timeout=20s",
                "-s",
                _LUA,
                f"http://127.0.0.1:{port}",
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment,
        )

    def result(self) -> dict[str, float]:
        """Requests a second, quantiles in ms, and how many requests failed."""
        out, _ = self._process.communicate()
        line = next((line for line in out.splitlines() if line.startswith("{")), None)
        if line is None:
            raise SystemExit(f"wrk failed:\n{out}")
        found: Mapping[str, float] = json.loads(line)
        return dict(found)
