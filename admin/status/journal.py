"""Rows `journal`, `drain`, `report`, `export`: are matches kept, and do others get them?"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from inkgate.admin.status.row import Level, Machine, Row, age
from inkgate.config.errors import InkgateError
from inkgate.config.settings_file import load_section
from inkgate.sightings.export_settings import EXPORTER
from inkgate.sightings.journal.backends.registry import backend_of, own_file
from inkgate.sightings.settings import DRAINER, REPORTER, SightingsSettings

_DAY: Final = 86_400


def rows(machine: Machine) -> Iterable[Row]:
    """See the module."""
    try:
        settings = load_section(machine.config, "sightings", SightingsSettings, alone=True)
        path = own_file(machine.config, settings)
    except InkgateError as error:
        yield machine.unanswered("journal", error, "", Level.CRITICAL)
        return
    if path is None:
        yield Row("journal", Level.OK, "is switched off: [sightings] journal is empty")
        return
    yield _journal(path, machine.now)
    if backend_of(machine.config, settings).relay:
        yield _handing_on(machine, "drain", DRAINER, "was handed over to the shared store")
    if settings.misp.url:
        yield _handing_on(machine, "report", REPORTER, "was reported to MISP")
    if settings.export:
        yield _handing_on(machine, "export", EXPORTER, "was exported")


def _journal(path: Path, now: float) -> Row:
    # The folder is Squid's user's: only lstat, which follows no link of theirs.
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return Row("journal", Level.OK, f"{path} is not there yet: it is made at the first match")
    except OSError as error:
        text = f"{path}: {error.strerror}"
        return Row("journal", Level.UNKNOWN, text, "run inkgate status as root")
    if not stat.S_ISREG(found.st_mode):
        remedy = "find out who put it there, and remove it: no incident is journalled"
        return Row("journal", Level.CRITICAL, f"{path} is no file", remedy)
    last = _last_written(path)
    text = f"{found.st_size / (1 << 20):,.1f} MiB, last written {age(now - last)} ago"
    return Row("journal", Level.OK, text, data={"bytes": found.st_size, "written": last})


def _last_written(path: Path) -> float:
    times = []
    for name in (path.name, f"{path.name}-wal"):
        try:
            times.append(os.lstat(path.with_name(name)).st_mtime)
        except OSError:
            continue
    return max(times, default=0.0)


def _handing_on(machine: Machine, name: str, program: str, done: str) -> Row:
    reports = [p for p in machine.processes if p.header.program == program]
    if not reports:
        remedy = f"run inkgate-sightings {name}, by a timer or with --follow"
        return Row(name, Level.WARNING, f"nothing {done} from here yet", remedy)
    # One that was started beside one that runs, and gave way to it, tells nothing.
    alive = [report for report in reports if report.is_alive]
    latest = max(alive or reports, key=lambda report: report.header.started)
    began = latest.header.started
    since = machine.now - (max(latest.said("ended"), latest.said("failed")) or began)
    waiting, refused = int(latest.said("waiting")), int(latest.said("refused"))
    data: dict[str, str | int | float | bool | None] = {
        "since": since,
        "waiting": waiting,
        "refused": refused,
    }
    if error := latest.state.get("error"):
        text, remedy = f"failed {age(since)} ago: {error}", "its own line says what to do"
        return Row(name, Level.WARNING, text, remedy, data)
    if latest.is_alive:
        return Row(name, Level.OK, f"is running for {age(machine.now - began)}", data=data)
    told = f"ended {age(since)} ago: {waiting} wait, {refused} refused"
    if since > _DAY:
        return Row(name, Level.WARNING, told, "see that its timer runs", data)
    level = Level.WARNING if refused else Level.OK
    return Row(name, level, told, "inkgate-sightings refused says why", data)
