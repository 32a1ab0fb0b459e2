"""Rows `helper`, `icap` and `standby`: who is alive, and by which rules each answers."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from inkgate.admin.status.row import Level, Machine, Row
from inkgate.admin.status.rules import installed
from inkgate.blocked_page.settings import SquidSettings
from inkgate.config.errors import InkgateError
from inkgate.config.settings_file import load_section
from inkgate.health.reading import ProcessCounters

FRONT_ENDS = {"helper": "inkgate-helper", "icap": "inkgate-icap"}


def rows(machine: Machine) -> Iterable[Row]:
    """See the module."""
    if machine.is_uncounted:
        # Row `counters` says why.
        return
    serial = _installed_serial(machine)
    alive = [process for process in machine.processes if process.is_alive]
    standby = [p for p in alive if p.header.program == "inkgate-standby"]
    found = {
        name: [p for p in alive if p.header.program == program]
        for name, program in FRONT_ENDS.items()
    }
    for name, processes in found.items():
        if processes:
            yield _front_end(name, processes, serial)
    if not found["icap"] and _wants_icap(machine.config):
        yield Row(
            "icap",
            Level.CRITICAL,
            "no ICAP worker is running, and [squid_conf] front_ends wants it",
            "start inkgate-icap (it is no child of Squid's), and see its log",
            {"alive": 0},
        )
    if standby:
        yield Row(
            "standby",
            Level.CRITICAL,
            f"{len(standby)} processes answer as `fail` says, because the helper cannot start",
            "the log has the helper's own words; often a changed Python or a removed package",
            {"alive": len(standby)},
        )
    elif not any(found.values()):
        yield Row(
            "helper",
            Level.WARNING,
            "no helper and no ICAP worker is running (Squid starts a helper at its first request)",
            "see that Squid runs and that inkgate squid check finds its lines",
            {"alive": 0},
        )


def _front_end(name: str, processes: list[ProcessCounters], serial: int | None) -> Row:
    loaded = sorted({int(p.said("serial")) for p in processes})
    level, remedy = Level.OK, ""
    if 0 in loaded:
        level = Level.CRITICAL
        remedy = "its log says why no rules could be opened"
    elif serial is not None and loaded != [serial]:
        level = Level.WARNING
        remedy = "newer rules are taken within seconds; if this stays, its log says why not"
    stopped = [p.header.pid for p in processes if _is_stopped(p.header.pid)]
    if stopped:
        level = Level.CRITICAL
        remedy = f"kill -CONT {' '.join(map(str, stopped))}, or kill it: another is started"
    serials = ", ".join(f"serial {n}" if n else "no rules" for n in loaded)
    waits = f", {len(stopped)} of them stopped (SIGSTOP): what they were asked waits"
    return Row(
        name,
        level,
        f"{len(processes)} alive, {serials}{waits * bool(stopped)}",
        remedy,
        {"alive": len(processes), "oldest_serial": loaded[0], "stopped": len(stopped)},
    )


def _is_stopped(pid: int) -> bool:
    """Whether a process gets no time until somebody continues it (proc(5))."""
    try:
        # Its name, which stands before that in brackets, may hold anything.
        state = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b") ")[2][:1]
    except OSError:
        return False
    return state in {b"T", b"t"}


def _wants_icap(config: Path) -> bool:
    try:
        settings = load_section(config, "squid_conf", SquidSettings, alone=True)
        listens_here = not settings.icap
    except InkgateError:
        # Said by the row `canary`.
        return False
    return settings.front_ends != "helper" and listens_here


def _installed_serial(machine: Machine) -> int | None:
    try:
        manifest, _ = installed(machine.config)
    except (InkgateError, OSError):
        return None
    return manifest.serial if manifest else None
