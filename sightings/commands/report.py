"""The commands of `inkgate-sightings` that talk to MISP and Redis, and those for operators."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click
import msgspec

from inkgate.config.command import needs, quiet_option
from inkgate.config.errors import InkgateError, Unreadable
from inkgate.config.printable import printable, printable_json, to_stderr
from inkgate.config.settings_file import SettingsError, resolve
from inkgate.health.monitor import Monitor
from inkgate.health.settings import counter_folder
from inkgate.rules.crypto.keys import make_token
from inkgate.sightings.commands.configured_journals import ConfiguredJournals, find_incident
from inkgate.sightings.commands.formatting import as_reported, cell
from inkgate.sightings.journal.backends.backend import DRAINED, StoreAwayError, StoreRefusedError
from inkgate.sightings.journal.backends.registry import backend_of, own_file, reported_file
from inkgate.sightings.journal.clients import KEYGEN
from inkgate.sightings.journal.journal import Journal
from inkgate.sightings.settings import DRAINER, REPORTER

if TYPE_CHECKING:
    from inkgate.sightings.journal.sighting import Sighting
    from inkgate.sightings.report.reporter import Reporter


def _log(text: str) -> None:
    to_stderr("inkgate-sightings", text)


@click.command()
@click.option("--follow", is_flag=True, help="Go on until SIGTERM.")
@quiet_option
@click.pass_obj
@needs("report")
def report(configured: ConfiguredJournals, *, follow: bool, quiet: bool) -> None:
    """Tell MISP what was seen: one sighting per attribute, node and day.

    Exit status: 0 all is told, 1 something waits or was refused, 2 an error that needs
    you. What waits is told by the next run, and nothing is told twice.
    """
    from inkgate.sightings.report.reporter import Reporter, only_reporter  # noqa: PLC0415 (imports PyMISP's)

    stop = stop_on_signals()
    with ExitStack() as stack:
        watched = stack.enter_context(_watched(configured.config))
        # Keys and passwords are read while this is still root, if it is.
        reporter = Reporter(
            configured.config,
            configured.settings,
            _log,
            stop,
            before=lambda: configured.become_owner(
                reported_file(configured.config, configured.settings)
            ),
            tell=lambda why: _tell(watched, why),
        )
        stack.callback(reporter.close)
        if not stack.enter_context(only_reporter(reporter.path)):
            _fail("another inkgate-sightings report is at work on this journal", 2)
        if follow:
            _guarded(reporter.follow)
            return
        told = _guarded(reporter.report_all)
        watched.state(waiting=told.waiting, refused=told.refused)
    if any((told.reported, told.refused, told.waiting)) or not quiet:
        click.echo(f"reported {told.reported}, refused {told.refused}, waiting {told.waiting}")
    sys.exit(1 if told.refused or told.waiting else 0)


@contextlib.contextmanager
def _watched(config: Path, program: str = REPORTER) -> Iterator[Monitor]:
    """Tell `inkgate status` how a report, or what hands records over, ends."""
    monitor = Monitor(counter_folder(config), program, _log)
    try:
        yield monitor
    except BaseException as error:
        # Of a fault of our own only the type is kept: the text may hold anything.
        is_plain = isinstance(error, (_Failed, InkgateError, OSError))
        said = str(error) if is_plain else f"ended by {type(error).__name__}"
        _tell(monitor, said)
        raise
    finally:
        monitor.state(ended=time.time())
        monitor.end()


def _tell(monitor: Monitor, why: str) -> None:
    """Let `inkgate status` show why MISP is told nothing; empty when it is told again."""
    monitor.state(error=printable(why)[:1000], failed=time.time() if why else 0.0)


@click.command()
@click.option("--follow", is_flag=True, help="Go on until SIGTERM.")
@click.option("--again", is_flag=True, help="First all that is still here once more.")
@quiet_option
@click.pass_obj
@needs("drain")
def drain(configured: ConfiguredJournals, *, follow: bool, again: bool, quiet: bool) -> None:
    """Hand this proxy's records over to the Redis of `journal`.

    Exit status: 0 done, 1 Redis did not answer (the records stay), 2 an error.
    """
    from inkgate.sightings.report.reporter import drain as drain_now  # noqa: PLC0415

    stop = stop_on_signals()
    with _watched(configured.config, DRAINER) as watched:
        done = _guarded(
            lambda: drain_now(
                configured.config,
                configured.settings,
                _log,
                stop,
                follow=follow,
                again=again,
                before=lambda: configured.become_owner(
                    own_file(configured.config, configured.settings)
                ),
                tell=lambda why: _tell(watched, why),
            )
        )
    if not follow and (done or not quiet):
        click.echo(f"handed over {done}")


@click.command("false-positive")
@click.argument("incident", metavar="ID")
@click.pass_obj
@needs("report")
def false_positive(configured: ConfiguredJournals, incident: str) -> None:
    """Tell MISP, and the exports that can say so, that an incident's matches were false positives.

    Exit status: 0 MISP has it, 1 it waits for MISP or was refused, 2 an error.
    """
    from inkgate.sightings.report.outbox import Outbox  # noqa: PLC0415

    settings = configured.settings
    if not (settings.misp.url or settings.export):
        raise SettingsError(configured.config, "[sightings] has no MISP", "set misp.url")
    path = _reported(configured, f"inkgate-sightings false-positive {incident}")
    reporter = _reporter(configured) if settings.misp.url else None
    _, sightings = find_incident(configured, incident)
    if all(s.is_canary for s in sightings):
        _fail("this incident is of the check through the proxy; MISP knows nothing of it", 2)
    if settings.export:
        _mark(path, sightings)
    if reporter is None:
        click.echo("the next export tells it")
        return
    with Outbox(path, configured.settings.window_hours) as outbox:
        made = {name for s in sightings for name in outbox.add_false_positive(s, time.time())}
        if not made:
            _fail("the rules of this incident name no attribute", 2)
    _report_now(reporter)
    with Outbox(path, configured.settings.window_hours) as outbox:
        items = [item for name in made for item in outbox.named(name)]
    for item in items:
        click.echo(
            f"{cell(item.attribute)}: {item.state.name.lower()} {cell(item.reason)}".rstrip()
        )
    sys.exit(0 if all(item.state.name == "REPORTED" for item in items) else 1)


def _mark(path: Path, sightings: Sequence[Sighting]) -> None:
    """Let the next export tell that these were false positives."""
    from inkgate.sightings.export.ledger import add_marks  # noqa: PLC0415

    add_marks(path, sightings, time.time())


def _reported(configured: ConfiguredJournals, command: str) -> Path:
    """The journal that is reported from here; ends the command if none is."""
    path = reported_file(configured.config, configured.settings)
    if path is None:
        raise SettingsError(configured.config, "[sightings] has no journal", "set journal")
    if backend_of(configured.config, configured.settings).relay and not path.exists():
        _fail(f"nothing is reported from this host; where `report` runs, run {command}", 2)
    return path


def _reporter(configured: ConfiguredJournals) -> Reporter | Unreadable:
    """The reporter, or what is wrong with its key, which is to stop nothing but the report."""
    from inkgate.sightings.report.reporter import Reporter  # noqa: PLC0415

    stop = threading.Event()
    try:
        return Reporter(
            configured.config, configured.settings, _log, stop, before=configured.become_owner
        )
    except Unreadable as error:
        return error


def _report_now(reporter: Reporter | Unreadable) -> None:
    """Send what waits, unless somebody else is at it or MISP is away."""
    from inkgate.sightings.report.misp import NeedsOperator, RetryLater  # noqa: PLC0415
    from inkgate.sightings.report.reporter import only_reporter  # noqa: PLC0415

    if isinstance(reporter, Unreadable):
        raise reporter
    with ExitStack() as stack:
        stack.callback(reporter.close)
        if not stack.enter_context(only_reporter(reporter.path)):
            _log("a running report will tell MISP in a moment")
            return
        try:
            while reporter.send():
                pass
        except (RetryLater, NeedsOperator) as error:
            _log(f"{error}; it waits for the next report")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.pass_obj
def refused(configured: ConfiguredJournals, *, as_json: bool) -> None:
    """List what MISP did not take, and why."""
    with _outbox(configured) as outbox:
        items = [as_reported(item) for item in outbox.refused()]
    for item in items:
        click.echo(printable_json(msgspec.json.encode(item)) if as_json else _tabbed(item))


def _tabbed(item: dict[str, object]) -> str:
    names = ("uuid", "what", "attribute", "node", "since", "count", "reason")
    return "\t".join(cell(item[name]) for name in names)


@click.command()
@click.option("--all", "everything", is_flag=True, help="All of them.")
@click.argument("uuids", nargs=-1, metavar="[UUID]…")
@click.pass_obj
def retry(configured: ConfiguredJournals, uuids: tuple[str, ...], *, everything: bool) -> None:
    """Let refused sightings be told again by the next report."""
    with _outbox(configured) as outbox:
        known = {item.uuid for item in outbox.refused()}
        wanted = known if everything else set(uuids)
        outbox.retry(wanted)
    for missing in sorted(wanted - known):
        click.echo(f"{cell(missing)}: not among the refused", err=True)
    click.echo(f"{len(wanted & known)} wait again")
    sys.exit(1 if wanted - known else 0)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.pass_obj
def status(configured: ConfiguredJournals, *, as_json: bool) -> None:
    """Count what is told, what waits and since when: for monitoring."""
    with _outbox(configured) as outbox:
        counts: dict[str, Any] = {s.name.lower(): n for s, n in outbox.counts().items()}
        counts["unread"] = outbox.unread()
        counts["oldest_waiting_seconds"] = outbox.oldest_waiting(time.time())
        if exports := configured.settings.export:
            counts["unexported"] = outbox.unread([export.position for export in exports])
    counts["damaged_blocks"] = sum(Journal(path).damaged() for path in configured.journals())
    if as_json:
        click.echo(msgspec.json.encode(counts))
    else:
        for label, count in counts.items():
            click.echo(f"{label:>24}  {count}")


@click.command()
@quiet_option
@click.pass_obj
def prune(configured: ConfiguredJournals, *, quiet: bool) -> None:
    """Remove records by age and size; `report` and `drain` do that, too."""
    from inkgate.sightings.report.outbox import REPORTED  # noqa: PLC0415
    from inkgate.sightings.report.retention import prune as prune_now  # noqa: PLC0415

    configured.become_owner()
    settings, own = configured.settings, own_file(configured.config, configured.settings)
    is_relayed = backend_of(configured.config, settings).relay is not None
    for path in configured.journals():
        position: str | None = REPORTED if settings.misp.url else None
        if is_relayed and path == own:
            position = DRAINED
        removed = prune_now(path, settings, position, _log)
        if removed or not quiet:
            click.echo(f"{path}: removed {removed}")


@click.command()
@click.pass_obj
def keygen(configured: ConfiguredJournals) -> None:
    """Make the key of hashed client addresses, unless it exists."""
    path = resolve(configured.config, configured.settings.clients_key_file)
    made = make_token(path, KEYGEN)
    click.echo(f"{path}: {'made' if made else 'kept, it exists'} (key of client addresses)")


def _outbox(configured: ConfiguredJournals) -> Any:
    from inkgate.sightings.report.outbox import Outbox  # noqa: PLC0415

    path = reported_file(configured.config, configured.settings)
    if path is None:
        raise SettingsError(configured.config, "[sightings] has no journal", "set journal")
    configured.become_owner()
    return Outbox(path, configured.settings.window_hours)


def _guarded(work: Callable[[], Any]) -> Any:
    """Peers that are away end a command with 1, what needs an operator with 2."""
    from inkgate.sightings.report.misp import NeedsOperator, RetryLater  # noqa: PLC0415

    try:
        return work()
    except (RetryLater, StoreAwayError) as error:
        _fail(f"{error}; what is left waits for the next run", 1)
    except (NeedsOperator, StoreRefusedError) as error:
        _fail(str(error), 2)


class _Failed(SystemExit):
    """The command ends with a status, and has said why."""

    def __init__(self, text: str, code: int) -> None:
        super().__init__(code)
        self._text = text

    def __str__(self) -> str:
        return self._text


def _fail(text: str, code: int) -> NoReturn:
    _log(text)
    raise _Failed(text, code)


def stop_on_signals() -> threading.Event:
    """An event that SIGTERM and SIGINT set."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop
