"""One worker process: rules, journal and a server on the inherited sockets."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from inkgate.health.clock import Clock
from inkgate.health.monitor import Monitor
from inkgate.health.settings import counter_folder
from inkgate.icap_server.acceptor import Listener
from inkgate.icap_server.blocked import Blocked
from inkgate.icap_server.body.memory import give_large_blocks_back
from inkgate.icap_server.processes.descriptors import connections_within
from inkgate.icap_server.processes.readiness import say_ready
from inkgate.icap_server.processes.spare_room import SpareRoom
from inkgate.icap_server.sections import Sections, load_sections
from inkgate.icap_server.server import InkgateServer
from inkgate.icap_server.service import Service
from inkgate.rules.lookup.freshness import Freshness
from inkgate.rules.lookup.rule_set import RuleSet
from inkgate.sightings.journal.incident import new_incident
from inkgate.sightings.journal.recorder import Recorder


class Inherited(NamedTuple):
    """Descriptors that the supervisor hands down.

    Attributes:
        plain: listening sockets for plain ICAP.
        secure: the same for ICAP over TLS.
        room_locks: the file with all workers' locks.
        ready: where to say that this worker serves.
    """

    plain: Sequence[int]
    secure: Sequence[int]
    room_locks: int
    ready: int


def run_worker(config: Path, inherited: Inherited, monitor: Monitor) -> None:
    """Serve until SIGTERM, or until the supervisor is gone.

    Args:
        config: the settings file.
        inherited: what the supervisor hands down.
        monitor: told what goes wrong.

    Raises:
        SettingsError: the settings cannot be used.
    """
    # A terminal sends SIGINT and SIGHUP to all processes of the command; the supervisor
    # decides what its workers do.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    give_large_blocks_back()
    sections = load_sections(config, secure=bool(inherited.secure))
    monitor.state(fail=sections.icap.fail, config=str(config))
    recorder = Recorder(config, monitor)
    service = _service(config, sections, recorder, monitor)
    # All of them in each worker: the system may give this one whatever there is.
    limit = connections_within(sections.icap.connections, monitor)
    server = _server(sections, inherited, service, limit)
    signal.signal(signal.SIGTERM, lambda *_: server.shutdown())
    _end_with_parent(server)
    try:
        service.start()
        say_ready(inherited.ready, has_rules=service.watcher.current is not None)
        server.serve_forever()
    finally:
        server.server_close()
        # Not left to atexit: Python waits for the threads of all pools before it.
        recorder.close()
        service.stop()
        service.tell_requests()
    # Not if it broke off: then `inkgate status` and the next worker say that it died.
    monitor.end()


def _service(config: Path, sections: Sections, recorder: Recorder, monitor: Monitor) -> Service:
    settings = sections.icap
    clock = Clock(counter_folder(config))
    rules = RuleSet(config, settings.cached_keys, settings.key_cache_mib, monitor, clock.now)
    freshness = Freshness(clock, monitor)
    return Service(rules, settings, recorder.record, new_incident, freshness, monitor)


def _server(
    sections: Sections, inherited: Inherited, service: Service, limit: int
) -> InkgateServer:
    settings = sections.icap
    listeners = [Listener(socket.socket(fileno=fd)) for fd in inherited.plain]
    listeners += [Listener(socket.socket(fileno=fd), sections.context) for fd in inherited.secure]
    blocked = Blocked(sections.pages, settings.redirect)
    spare_room = SpareRoom(inherited.room_locks)
    return InkgateServer(listeners, service, settings, blocked, limit, spare_room)


def _end_with_parent(server: InkgateServer) -> None:
    """Stop when the supervisor dies, however it does: standard input is a pipe from it."""

    def wait() -> None:
        while os.read(0, 1):
            pass
        server.shutdown()

    threading.Thread(target=wait, daemon=True).start()
