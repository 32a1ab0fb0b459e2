"""The command that exports the journal to those who do not read MISP."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from inkgate.config.command import needs, quiet_option
from inkgate.config.errors import InkgateError
from inkgate.config.printable import printable, to_stderr
from inkgate.health.log import dated_log
from inkgate.health.monitor import Monitor
from inkgate.health.settings import counter_folder
from inkgate.sightings.commands.configured_journals import ConfiguredJournals
from inkgate.sightings.commands.report import stop_on_signals
from inkgate.sightings.export_settings import EXPORTER
from inkgate.sightings.journal.backends.backend import StoreAwayError, StoreRefusedError
from inkgate.sightings.journal.backends.registry import reported_file

if TYPE_CHECKING:
    from inkgate.sightings.export.exporter import Exporter

_WAITS: Final = 1
_NEEDS_OPERATOR: Final = 2


@click.command()
@click.option("--follow", is_flag=True, help="Go on until SIGTERM.")
@quiet_option
@click.pass_obj
@needs("report")
def export(configured: ConfiguredJournals, *, follow: bool, quiet: bool) -> None:
    """Export what was seen: ECS, OCSF and CEF lines, STIX to a folder or a TAXII server.

    Exit status: 0 all is exported, 1 something waits, 2 an error that needs you. What
    waits is exported by the next run.
    """
    from inkgate.sightings.export.exporter import Exporter, only_exporter  # noqa: PLC0415 (requests)

    stop = stop_on_signals()
    with ExitStack() as stack:
        monitor = stack.enter_context(_watched(configured.config))
        # Passwords are read while this is still root, if it is.
        exporter = Exporter(
            configured.config,
            configured.settings,
            monitor,
            stop,
            before=lambda: configured.become_owner(
                reported_file(configured.config, configured.settings)
            ),
        )
        stack.callback(exporter.close)
        if not stack.enter_context(only_exporter(exporter.path)):
            raise InkgateError(
                f"{exporter.path}: another inkgate-sightings export is at work on it; let it go "
                "on, or end it first"
            )
        if follow:
            exporter.follow()
            return
        status, done = _exported(exporter, monitor)
    for name, count in done.items():
        if count or not quiet:
            click.echo(f"{printable(name)}: exported {count}")
    sys.exit(status)


def _exported(exporter: Exporter, monitor: Monitor) -> tuple[int, dict[str, int]]:
    """Export all; the exit status, and how much each export has done."""
    from inkgate.sightings.export.errors import ExportRefused, ExportWaits  # noqa: PLC0415

    try:
        done = exporter.export_all()
    except (ExportWaits, StoreAwayError, StoreRefusedError) as error:
        needs_operator = isinstance(error, (ExportRefused, StoreRefusedError))
        to_stderr("inkgate-sightings", f"{error}; what is left waits for the next run")
        monitor.state(error=printable(str(error))[:1000], failed=time.time())
        return (_NEEDS_OPERATOR if needs_operator else _WAITS), {}
    monitor.state(waiting=exporter.unread(), refused=0)
    return 0, done


@contextlib.contextmanager
def _watched(config: Path) -> Iterator[Monitor]:
    """Tell `inkgate status` what waits, and how an export ends."""
    monitor = Monitor(counter_folder(config), EXPORTER, dated_log(EXPORTER))
    try:
        yield monitor
    except BaseException as error:
        # Of a fault of our own only the type is kept: the text may hold anything.
        is_plain = isinstance(error, (InkgateError, OSError))
        said = str(error) if is_plain else f"ended by {type(error).__name__}"
        monitor.state(error=printable(said)[:1000], failed=time.time())
        raise
    finally:
        monitor.state(ended=time.time())
        monitor.end()
