"""The parent process: binds the addresses, keeps the workers running, ends them in order."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Final

from inkgate.config.errors import InkgateError
from inkgate.config.kept_files import keep, use
from inkgate.health.monitor import Monitor
from inkgate.icap_server.processes.child import Child, WorkerError
from inkgate.icap_server.processes.waiting_settings import WaitingSettings
from inkgate.icap_server.sections import load_sections
from inkgate.icap_server.settings import IcapSettings, address_of

_BACKLOG: Final = 1024
_TICK_SECONDS: Final = 0.2
_READY_TICK_SECONDS: Final = 0.02
# To open the rules; it takes milliseconds, but a machine may be booting.
_READY_SECONDS: Final = 60
_GRACE_SECONDS: Final = 5
# How soon it is tried again to start a worker, if the system has no room for one.
_START_AGAIN_SECONDS: Final = 1.0


Kept = list[tuple[Path, int]]
"""Files and descriptors of their contents."""


class ListenError(InkgateError):
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
        monitor: told what goes wrong.

    Raises:
        SettingsError: the settings cannot be used.
        ListenError: an address cannot be listened on.
    """

    def __init__(self, config: Path, monitor: Monitor) -> None:
        self._config = config
        self._monitor = monitor
        self._kept, self._settings = self._load(secure=False)
        self._waiting = WaitingSettings(config, monitor)
        self._waiting.taken(self._kept)
        self._plain = [listen(self._settings.listen)] if self._settings.listen else []
        self._secure = [listen(self._settings.tls_listen)] if self._settings.tls_listen else []
        # An empty file in memory, for the locks of `SpareRoom`.
        self._room_locks = os.memfd_create("inkgate-icap")
        self._workers: list[Child] = []
        self._leaving: list[Child] = []
        self._start_again_at = 0.0
        self._stopping = False
        self._reload = False

    def run(self) -> None:
        """Keep the workers running until SIGTERM or SIGINT.

        Raises:
            WorkerError: the first ones cannot serve.
        """
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGINT, self._stop)
        signal.signal(signal.SIGHUP, self._hang_up)
        try:
            self._workers = self._start_all(self._settings)
            self._say_where()
            while not self._stopping:
                if self._reload:
                    self._replace_all()
                self._tend()
                time.sleep(_TICK_SECONDS)
        finally:
            self._end()

    def _say_where(self) -> None:
        for listening in (*self._plain, *self._secure):
            host, port = listening.getsockname()[:2]
            self._monitor.say(f"listening on {host} port {port}")

    def _start(self) -> Child:
        plain = [listening.fileno() for listening in self._plain]
        secure = [listening.fileno() for listening in self._secure]
        words = [sys.executable, "-P", "-m", "inkgate.icap_server", "--config", str(self._config)]
        handed = [("--plain", fd) for fd in plain] + [("--secure", fd) for fd in secure]
        handed.append(("--vacancy", self._room_locks))
        words += [word for option, fd in handed for word in (option, str(fd))]
        for path, fd in self._kept:
            words += ["--kept", str(fd), str(path)]
        return Child(words, [*(fd for _, fd in handed), *(fd for _, fd in self._kept)])

    def _load(self, *, secure: bool) -> tuple[Kept, IcapSettings]:
        """Read the settings, and keep the files for workers that start later.

        Raises:
            InkgateError: some of it cannot be used.
        """
        use(())
        kept: Kept = []
        try:
            kept += [
                (path, keep(path)) for path in load_sections(self._config, secure=secure).files
            ]
            # Once more: only what is kept is known to be whole, and counts.
            use(kept)
            return kept, load_sections(self._config, secure=secure).icap
        except (OSError, ValueError) as error:
            _close(kept)
            raise WorkerError(f"the settings changed while they were read: {error}") from None
        except InkgateError:
            _close(kept)
            raise

    def _start_all(self, settings: IcapSettings) -> list[Child]:
        """Start workers and wait until they serve (or SIGTERM comes).

        Raises:
            WorkerError: one cannot; then none is left.
        """
        new: list[Child] = []
        try:
            # As far as it comes: what was started is dismissed.
            new.extend(self._start() for _ in range(settings.workers))
            self._await(new)
        except OSError as error:
            self._dismiss(new)
            raise WorkerError(
                f"no worker can be started: {error.strerror}; see which limit is reached "
                "(TasksMax, LimitNOFILE, memory)"
            ) from None
        except WorkerError:
            self._dismiss(new)
            raise
        return new

    def _await(self, new: list[Child]) -> None:
        end = time.monotonic() + _READY_SECONDS
        while not self._stopping and not all(child.is_ready() for child in new):
            if time.monotonic() > end:
                raise WorkerError(f"the workers did not begin to serve within {_READY_SECONDS} s")
            self._tend()
            time.sleep(_READY_TICK_SECONDS)

    def _tend(self) -> None:
        self._workers = [self._alive(worker) for worker in self._workers]
        self._leaving = [worker for worker in self._leaving if not worker.has_ended()]
        self._waiting.look()
        self._monitor.remind()

    def _alive(self, worker: Child) -> Child:
        if not worker.is_due() or time.monotonic() < self._start_again_at:
            return worker
        ended = worker.how_it_ended()
        try:
            new = self._start()
        except OSError as error:
            self._start_again_at = time.monotonic() + _START_AGAIN_SECONDS
            self._monitor.met(
                "worker-not-started", f"{ended}, and no other can be started: {error.strerror}"
            )
            return worker
        # The next worker counts it, by the file that this one left.
        self._monitor.say(f"{ended}; starting another")
        self._monitor.over("worker-not-started", f"worker {new.pid} is started")
        return new

    def _replace_all(self) -> None:
        self._reload = False
        kept = self._kept
        try:
            self._kept, settings = self._load(secure=bool(self._secure))
            new = self._start_all(settings)
            self._check_rules(new)
        except InkgateError as error:
            # A worker that must be started again starts from what works.
            if self._kept is not kept:
                _close(self._kept)
            self._kept = kept
            self._monitor.met("settings-not-taken", f"{error}; the old settings stay in use")
            return
        self._monitor.over("settings-not-taken", "the new settings are in use")
        self._settings = settings
        self._waiting.taken(self._kept)
        _close(kept)
        old, self._workers = self._workers, new
        self._dismiss(old)

    def _check_rules(self, new: list[Child]) -> None:
        """Keep workers that have rules rather than replace them by such that have none."""
        lost = any(w.has_rules for w in self._workers) and not all(w.has_rules for w in new)
        if lost and not self._stopping:
            self._dismiss(new)
            raise WorkerError(
                "new workers cannot open the rules, for the reason above; mend that and send "
                "SIGHUP again, or restart to serve without rules"
            )

    def _dismiss(self, workers: list[Child]) -> None:
        for worker in workers:
            worker.terminate()
        self._leaving += workers

    def _end(self) -> None:
        everyone = [*self._workers, *self._leaving]
        for worker in everyone:
            worker.terminate()
        end = time.monotonic() + self._settings.stop_seconds + _GRACE_SECONDS
        for worker in everyone:
            worker.wait(max(0.1, end - time.monotonic()))

    def _stop(self, _signal: int, _frame: FrameType | None) -> None:
        self._stopping = True

    def _hang_up(self, _signal: int, _frame: FrameType | None) -> None:
        self._reload = True


def _close(kept: Kept) -> None:
    for _, descriptor in kept:
        os.close(descriptor)


def supervise(config: Path, monitor: Monitor) -> None:
    """Run the ICAP server in the foreground.

    Raises:
        SettingsError, ListenError, WorkerError: it cannot be started.
    """
    os.umask(0o027)
    try:
        Supervisor(config, monitor).run()
    except (InkgateError, OSError):
        # Whoever called says it. Whatever else comes is a fault of our own: it died.
        monitor.end()
        raise
    monitor.end()
