"""Rows `tunnels` and `bypasses`: whether somebody reads what Squid logs for inkgate's services."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Final, NamedTuple

from inkgate.admin.status.row import Level, Machine, Row, age
from inkgate.blocked_page.settings import SquidSettings
from inkgate.config.errors import InkgateError
from inkgate.config.settings_file import load_section, resolve
from inkgate.icap_server.settings import IcapSettings
from inkgate.squid_conf.bypasses import BYPASSES_PROGRAM
from inkgate.squid_conf.tunnels import TUNNELS_PROGRAM


class _Followed(NamedTuple):
    """A log and who reads it.

    Attributes:
        name: of the row, the key in `[squid_conf]`, and the command.
        program: as the reader calls itself in the counters.
        done: what is done with the log.
        left: what is so while nobody reads it.
    """

    name: str
    program: str
    done: str
    left: str

    def rows(self, machine: Machine, log: str) -> Iterable[Row]:
        readers = [p for p in machine.processes if p.header.program == self.program and p.is_alive]
        try:
            found = os.lstat(resolve(machine.config, log))
        except OSError:
            # Squid makes it with its first line.
            return
        if readers:
            since = machine.now - min(reader.header.started for reader in readers)
            yield Row(self.name, Level.OK, f"are {self.done} for {age(since)}")
        elif machine.is_uncounted:
            text = "cannot be told: no process can be seen, see row `counters`"
            yield Row(self.name, Level.UNKNOWN, text)
        elif found.st_size:
            yield Row(
                self.name,
                Level.WARNING,
                self.left,
                f"run inkgate squid {self.name} as a service, or empty [squid_conf] {self.name}",
                {"bytes": found.st_size},
            )


_TUNNELS: Final = _Followed(
    "tunnels",
    TUNNELS_PROGRAM,
    "looked up",
    "are logged, and nobody looks up whether they went to listed addresses",
)
_BYPASSES: Final = _Followed(
    "bypasses",
    BYPASSES_PROGRAM,
    "counted",
    "are logged, and nobody counts what Squid let pass past the ICAP server",
)


def rows(machine: Machine) -> Iterable[Row]:
    """See the module."""
    try:
        squid = load_section(machine.config, "squid_conf", SquidSettings, alone=True)
    except InkgateError as error:
        for followed in (_TUNNELS, _BYPASSES):
            yield machine.unanswered(followed.name, error, "")
        return
    if squid.tunnels:
        yield from _TUNNELS.rows(machine, squid.tunnels)
    if not squid.bypasses:
        return
    try:
        icap = load_section(machine.config, "icap", IcapSettings, alone=True)
    except InkgateError as error:
        yield machine.unanswered(_BYPASSES.name, error, "")
        return
    if icap.fail == "open":
        yield from _BYPASSES.rows(machine, squid.bypasses)
