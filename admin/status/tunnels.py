"""Row `tunnels`: whether somebody looks up where tunnels went."""

from __future__ import annotations

import os
from collections.abc import Iterable

from inkgate.admin.status.row import Level, Machine, Row, age
from inkgate.blocked_page.settings import SquidSettings
from inkgate.config.errors import InkgateError
from inkgate.config.settings_file import load_section, resolve
from inkgate.squid_conf.tunnels import TUNNELS_PROGRAM


def rows(machine: Machine) -> Iterable[Row]:
    """See the module."""
    try:
        log = load_section(machine.config, "squid_conf", SquidSettings).tunnels
    except InkgateError:
        # Row `settings` says so.
        return
    if not log:
        return
    readers = [p for p in machine.processes if p.header.program == TUNNELS_PROGRAM and p.is_alive]
    try:
        found = os.lstat(resolve(machine.config, log))
    except OSError:
        # Squid makes it with its first line.
        return
    if readers:
        since = machine.now - min(reader.header.started for reader in readers)
        yield Row("tunnels", Level.OK, f"are looked up for {age(since)}")
    elif found.st_size:
        yield Row(
            "tunnels",
            Level.WARNING,
            "are logged, and nobody looks up whether they went to listed addresses",
            "run inkgate squid tunnels as a service, or empty [squid_conf] tunnels",
            {"bytes": found.st_size},
        )
