"""Web servers that hand out the files of a folder, each as it comes, to see what they read."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from support.squid import free_port
from support.waiting import wait_until

_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
# So many requests of one connection, since nginx and Apache end it then.
_OF_CONNECTION: Final = 90
_SECONDS: Final = 20.0
_MODULES: Final = Path("/usr/lib/apache2/modules")


def _nginx(port: int, files: Path, work: Path) -> list[str]:
    conf = work / "nginx.conf"
    conf.write_text(
        f"worker_processes 1;\ndaemon off;\npid {work}/nginx.pid;\nuser root;\n"
        "events { worker_connections 64; }\n"
        f"http {{ access_log off; server {{ listen 127.0.0.1:{port}; root {files}; }} }}\n"
    )
    return ["nginx", "-c", str(conf), "-p", str(work), "-e", f"{work}/error.log"]


def _apache(port: int, files: Path, work: Path) -> list[str]:
    conf = work / "apache.conf"
    modules = "".join(
        f"LoadModule {name}_module {_MODULES}/mod_{name}.so\n"
        for name in ("mpm_event", "authz_core", "dir")
    )
    conf.write_text(
        f"ServerRoot {work}\nServerName 127.0.0.1\nListen 127.0.0.1:{port}\n{modules}"
        f"PidFile {work}/apache.pid\nErrorLog {work}/error.log\nDocumentRoot {files}\n"
        "DirectoryIndex index.html\nMaxKeepAliveRequests 0\n"
        f"<Directory {files}>\nRequire all granted\n</Directory>\n"
    )
    return ["apache2", "-D", "FOREGROUND", "-f", str(conf)]


def _python(port: int, files: Path, _: Path) -> list[str]:
    words = ["-m", "http.server", "--protocol", "HTTP/1.1", "--bind", "127.0.0.1"]
    return [sys.executable, *words, "--directory", str(files), str(port)]


SERVERS: Final[dict[str, Callable[[int, Path, Path], list[str]]]] = {
    "nginx": _nginx,
    "apache2": _apache,
    "python3": _python,
}
"""By the program that must be there; what starts it on a port, with a folder for its own files."""


@contextmanager
def serving(name: str, files: Path, work: Path) -> Iterator[int]:
    """A server of a folder; its port.

    Args:
        name: a key of `SERVERS`.
        files: what it hands out.
        work: an empty folder for its own files.
    """
    port = free_port()
    process = subprocess.Popen(
        SERVERS[name](port, files, work),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin"},
        start_new_session=True,
    )
    try:
        wait_until(lambda: _listens(port), f"{name} to listen")
        yield port
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def delivered(port: int, targets: Sequence[bytes]) -> Iterator[bytes]:
    """What a server gives for each request target, as it is written; empty unless it is 200."""
    waiting = list(targets)
    while waiting:
        answers = list(_of_connection(port, waiting[:_OF_CONNECTION]))
        yield from answers
        waiting = waiting[len(answers) :]


def _of_connection(port: int, targets: Sequence[bytes]) -> Iterator[bytes]:
    """Bodies of a connection's answers; at least one."""
    with socket.create_connection(("127.0.0.1", port), _SECONDS) as connection:
        stream = connection.makefile("rb")
        for number, target in enumerate(targets):
            try:
                connection.sendall(b"GET %b HTTP/1.1\r\nHost: files.example\r\n\r\n" % target)
                status, body, goes_on = _answer(stream)
            except (OSError, ValueError):
                # It closed behind the answer before: this one is asked on a new connection.
                if number:
                    return
                status, body, goes_on = 0, b"", False
            yield body if status == 200 else b""
            if not goes_on:
                return


def _answer(stream: object) -> tuple[int, bytes, bool]:
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        line = stream.readline(65_537)  # type: ignore[attr-defined]
        if not line:
            raise ValueError("no answer")
        head += line
    length = _LENGTH.search(head)
    body = stream.read(int(length[1]) if length else -1)  # type: ignore[attr-defined]
    closes = b"\r\nconnection: close" in head.lower() or length is None
    return int(head.split(None, 2)[1]), body, not closes
