"""One worker process: rules, journal and a server on the inherited sockets."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import threading
from collections.abc import Sequence
from pathlib import Path

from icap_server.blocked import Blocked
from icap_server.server import InkgateServer, Listener
from icap_server.service import Log, Service
from icap_server.settings import IcapSettings
from rules.live.ruleset import RuleSet
from rules.settings import SettingsError, load_section, resolve
from sightings.incident import new_incident
from sightings.recorder import Recorder
from squid_conf.settings import SquidSettings


def tls_context(config: Path, settings: IcapSettings) -> ssl.SSLContext:
    """The server's side of TLS.

    Raises:
        SettingsError: certificate or key cannot be used.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate = resolve(config, settings.tls_certificate)
    key = resolve(config, settings.tls_key)
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(
            config,
            f"[icap] tls_certificate and tls_key cannot be used ({error.strerror or 'not PEM'})",
            "give two PEM files that this user can read",
        ) from None
    return context


def run_worker(config: Path, plain: Sequence[int], secure: Sequence[int], log: Log) -> None:
    """Serve until SIGTERM, or until the supervisor is gone.

    Args:
        config: the settings file.
        plain: descriptors of listening sockets for plain ICAP.
        secure: the same for ICAP over TLS.
        log: takes one line without secrets.

    Raises:
        SettingsError: the settings cannot be used.
    """
    settings = load_section(config, "icap", IcapSettings)
    listeners = [Listener(socket.socket(fileno=fd)) for fd in plain]
    if secure:
        context = tls_context(config, settings)
        listeners += [Listener(socket.socket(fileno=fd), context) for fd in secure]
    service = Service(
        RuleSet(config, settings.cached_keys, settings.key_cache_mib, log),
        settings,
        Recorder(config, log).record,
        new_incident,
        log,
    )
    pages = load_section(config, "squid_conf", SquidSettings)
    limit = -(-settings.connections // settings.workers)
    server = InkgateServer(listeners, service, settings, Blocked(pages, settings.redirect), limit)
    signal.signal(signal.SIGTERM, lambda *_: server.shutdown())
    # A terminal's Ctrl-C and hang-up go to the whole group; the supervisor decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    _end_with_parent(server)
    server.serve_forever()
    server.server_close()


def _end_with_parent(server: InkgateServer) -> None:
    """Stop when the supervisor dies, however it does: standard input is a pipe from it."""

    def wait() -> None:
        while os.read(0, 1):
            pass
        server.shutdown()

    threading.Thread(target=wait, daemon=True).start()
