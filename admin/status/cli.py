"""`inkgate status`."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import click
import msgspec

from inkgate.admin.status import sections
from inkgate.admin.status.row import Level, Machine, Row, Rows, worst
from inkgate.admin.status.rows import ROWS
from inkgate.config.owner import OwnerError
from inkgate.config.printable import printable, printable_json
from inkgate.config.settings_file import SettingsError
from inkgate.health.reading import ProcessCounters, read_all
from inkgate.health.settings import counter_folder


class Report(msgspec.Struct, frozen=True):
    """What `--json` prints.

    Attributes:
        status: the level of all rows together, in words.
        rows: the answers.
    """

    status: str
    rows: list[Row]


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
@click.option("--verbose", "-v", is_flag=True, help="Also what the rows leave out.")
@click.pass_obj
def status(config: Path, as_json: bool, verbose: bool) -> None:
    """Say whether this machine blocks, row by row.

    Exit status as monitoring plug-ins have it: 0 all is well, 1 warning, 2 critical, 3
    something could not be found out.
    """
    rows = rows_of(config, time.time())
    level = worst(rows)
    if as_json:
        named = Report(level.name.lower(), rows)
        click.echo(printable_json(msgspec.json.format(msgspec.json.encode(named), indent=2)))
    else:
        for row in rows:
            click.echo(_lines(row, verbose=verbose))
    sys.exit(level)


def rows_of(config: Path, now: float) -> list[Row]:
    """All rows.

    Args:
        config: the settings file.
        now: seconds since 1970.
    """
    faults = frozenset(map(str, sections.faults(config)))
    processes, missing = _processes(config, faults)
    machine = Machine(config, processes, now, faults, bool(missing))
    first, *others = (row for make in ROWS for row in _answers(make, machine))
    return [first, *missing, *others]


def _answers(make: Rows, machine: Machine) -> list[Row]:
    try:
        return list(make(machine))
    except Exception as error:  # noqa: BLE001
        # One question without an answer must not hide the answers to all others.
        name = make.__module__.rpartition(".")[2]
        text = f"cannot be told: {type(error).__name__}, a fault of inkgate's own"
        return [Row(name, Level.UNKNOWN, text, "report it to inkgate's developers")]


def _processes(config: Path, faults: frozenset[str]) -> tuple[list[ProcessCounters], list[Row]]:
    try:
        folder = counter_folder(config)
    except SettingsError as error:
        machine = Machine(config, [], 0, faults)
        return [], [machine.unanswered("counters", error, "")]
    if folder is None:
        text = "is switched off: [health] folder is empty, so no process can be seen from here"
        return [], [Row("counters", Level.UNKNOWN, text, "name a folder of Squid's user")]
    try:
        return read_all(folder), []
    except FileNotFoundError:
        return [], []
    except OSError as error:
        text = f"{folder}: {error.strerror}: what helpers counted cannot be read"
        return [], [Row("counters", Level.UNKNOWN, text, "run it as root or as Squid's user")]
    except OwnerError as error:
        problem, _, remedy = str(error).partition("; ")
        return [], [Row("counters", Level.CRITICAL, problem, remedy)]


def _lines(row: Row, *, verbose: bool) -> str:
    more = [f"-> {row.remedy}"] if row.remedy and row.level else []
    more += row.details if verbose else ()
    first = printable(f"{row.level.name:9} {row.name:16} {row.text}")
    return "".join([first, *(f"\n          {'':16}{printable(line)}" for line in more)])
