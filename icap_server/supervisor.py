"""The parent process: binds the addresses, keeps the workers running, ends them in order."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Final

from icap_server.service import Log
from icap_server.settings import IcapSettings, address_of
from icap_server.worker import tls_context
from rules.settings import SettingsError, load_section

_BACKLOG: Final = 1024
_TICK_SECONDS: Final = 0.2
# A worker that ends sooner than this is not started again at once.
_SHORT_LIFE_SECONDS: Final = 1.0
_GRACE_SECONDS: Final = 5


class ListenError(Exception):
    """An address cannot be listened on. Says which, why and what to do."""


def listen(text: str) -> socket.socket:
    """A socket that listens on `host:port`.

    Raises:
        ListenError: the address cannot be used.
    """
    host, port = address_of(text)
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        made = socket.socket(family, kind, protocol)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
        made.listen(_BACKLOG)
    except OSError as error:
        raise ListenError(
            f"cannot listen on {text} ({error.strerror}); see who does (ss -ltnp), or set [icap] "
            "listen to another address"
        ) from None
    return made


class Supervisor:
    """Runs the workers.

    Args:
        config: the settings file.
        log: takes one line.

    Raises:
        SettingsError: the settings cannot be used.
        ListenError: an address cannot be listened on.
    """

    def __init__(self, config: Path, log: Log) -> None:
        self._config = config
        self._log = log
        self._settings = self._load()
        self._plain = [listen(self._settings.listen)] if self._settings.listen else []
        self._secure = [listen(self._settings.tls_listen)] if self._settings.tls_listen else []
        self._workers: list[subprocess.Popen[bytes]] = []
        self._leaving: list[subprocess.Popen[bytes]] = []
        self._started: dict[int, float] = {}
        self._stopping = False
        self._reload = False

    def run(self) -> None:
        """Keep the workers running until SIGTERM or SIGINT."""
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGINT, self._stop)
        signal.signal(signal.SIGHUP, self._hang_up)
        self._workers = [self._start() for _ in range(self._settings.workers)]
        for listening in (*self._plain, *self._secure):
            host, port = listening.getsockname()[:2]
            self._log(f"listening on {host} port {port}")
        while not self._stopping:
            if self._reload:
                self._replace_all()
            self._workers = [self._alive(worker) for worker in self._workers]
            self._leaving = [worker for worker in self._leaving if worker.poll() is None]
            time.sleep(_TICK_SECONDS)
        self._end()

    def _load(self) -> IcapSettings:
        settings = load_section(self._config, "icap", IcapSettings)
        if settings.tls_listen:
            tls_context(self._config, settings)
        return settings

    def _start(self) -> subprocess.Popen[bytes]:
        plain = [listening.fileno() for listening in self._plain]
        secure = [listening.fileno() for listening in self._secure]
        words = [sys.executable, "-P", "-m", "icap_server", "--config", str(self._config)]
        for option, descriptors in (("--plain", plain), ("--secure", secure)):
            words += [word for fd in descriptors for word in (option, str(fd))]
        # The workers hold the other end of this pipe: it ends when we do.
        worker = subprocess.Popen(words, stdin=subprocess.PIPE, pass_fds=(*plain, *secure))
        self._started[worker.pid] = time.monotonic()
        return worker

    def _alive(self, worker: subprocess.Popen[bytes]) -> subprocess.Popen[bytes]:
        status = worker.poll()
        life = time.monotonic() - self._started[worker.pid]
        if status is None or life < _SHORT_LIFE_SECONDS:
            return worker
        self._log(f"worker {worker.pid} ended with status {status}; starting another")
        del self._started[worker.pid]
        return self._start()

    def _replace_all(self) -> None:
        self._reload = False
        try:
            self._settings = self._load()
        except SettingsError as error:
            self._log(f"{error}; the old settings stay in use")
            return
        old, self._workers = self._workers, []
        self._workers = [self._start() for _ in range(self._settings.workers)]
        for worker in old:
            worker.terminate()
        self._leaving += old

    def _end(self) -> None:
        everyone = [*self._workers, *self._leaving]
        for worker in everyone:
            worker.terminate()
        end = time.monotonic() + self._settings.stop_seconds + _GRACE_SECONDS
        for worker in everyone:
            try:
                worker.wait(max(0.1, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                worker.kill()
                worker.wait()

    def _stop(self, _signal: int, _frame: FrameType | None) -> None:
        self._stopping = True

    def _hang_up(self, _signal: int, _frame: FrameType | None) -> None:
        self._reload = True


def supervise(config: Path, log: Log) -> None:
    """Run the ICAP server in the foreground.

    Raises:
        SettingsError, ListenError: it cannot be started.
    """
    os.umask(0o027)
    Supervisor(config, log).run()
