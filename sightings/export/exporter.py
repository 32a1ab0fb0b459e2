"""All exports of a journal, each on its own: none waits for another one."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

from inkgate.config.locks import lock_file
from inkgate.config.printable import Log, printable
from inkgate.config.settings_file import SettingsError
from inkgate.health.monitor import Monitor
from inkgate.sightings.errors import JournalError
from inkgate.sightings.export.errors import ExportAway, ExportWaits
from inkgate.sightings.export.exports import Export, ExportContext, export_of
from inkgate.sightings.journal.backends.registry import backend_of, reported_file
from inkgate.sightings.journal.database import FILE_MODE
from inkgate.sightings.journal.journal import Journal
from inkgate.sightings.report.outbox import REPORTED
from inkgate.sightings.report.reporter import store_retries
from inkgate.sightings.report.retention import prune
from inkgate.sightings.report.retrying import RetryPolicy
from inkgate.sightings.settings import SightingsSettings

WAITS: Final = "export-waits"
_HOUR: Final = 3600
_DAY: Final = 86_400
_FIRST_PRUNE_SECONDS: Final = 10.0
_PRUNE_SECONDS: Final = 3600.0
_STORE_ATTEMPTS: Final = 8
_LONGEST_ASKED: Final = 3600.0


class Exporter:
    """Exports one journal to all places of the settings.

    Args:
        config: the settings file.
        settings: section `[sightings]`.
        monitor: told of what waits, is refused or lost.
        stop: ends `follow` when it is set.
        before: called when secrets are read and no journal is open yet.

    Raises:
        SettingsError: there is no journal or no export, or one of them cannot be.
        Unreadable: a secret cannot be read.
    """

    def __init__(
        self,
        config: Path,
        settings: SightingsSettings,
        monitor: Monitor,
        stop: threading.Event,
        *,
        before: Callable[[], None] = lambda: None,
    ) -> None:
        path = reported_file(config, settings)
        if path is None or not settings.export:
            raise SettingsError(
                config,
                "[sightings] has no journal or no export",
                "set journal, and add a table [[sightings.export]]",
            )
        self.path = path
        self._settings = settings
        self._monitor = monitor
        self._log: Log = monitor.say
        self._stop = stop
        self._waiting = _Waiting(monitor)
        context = ExportContext(
            config,
            path,
            settings.window_hours * _HOUR,
            settings.keep_days * _DAY,
            monitor.met,
        )
        self._exports = [export_of(export, context) for export in settings.export]
        self._collect = self._collecting(config)
        before()

    def close(self) -> None:
        """Close all files."""
        for export in self._exports:
            export.close()

    def export_all(self) -> dict[str, int]:
        """Export all that there is; how much each has done.

        Raises:
            ExportWaits: of the first export that could not go on; all others are done.
            StoreAwayError, StoreRefusedError: the shared journal cannot be collected.
            JournalError: the journal cannot be used.
        """
        if self._collect:
            store_retries(_STORE_ATTEMPTS, self._stop, self._log).run_until_idle(self._collect)
        done: dict[str, int] = {}
        faults: list[ExportWaits] = []
        for export in self._exports:
            policy = self._policy(export, ExportAway, export.settings.attempts)
            try:
                done[export.name] = policy.run_until_idle(self._step_of(export))
            except ExportWaits as error:
                faults.append(error)
        self._prune()
        if faults:
            raise faults[0]
        return done

    def follow(self) -> None:
        """Export records as they come, until `stop` is set.

        Raises:
            StoreRefusedError: an operator must act.
        """
        failures: list[BaseException] = []
        work = [self._following(export) for export in self._exports]
        work.append(self._prune_on)
        if self._collect:
            work.append(self._collect_on)
        threads = [threading.Thread(target=self._guarded(run, failures)) for run in work]
        for thread in threads:
            thread.start()
        while not self._stop.wait(1.0):
            self._monitor.remind()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]

    def unread(self) -> int:
        """How many records one of the exports at least has not passed yet."""
        return max(export.unread() for export in self._exports)

    def _following(self, export: Export) -> Callable[[], None]:
        policy, step = self._policy(export, ExportWaits, 0), self._step_of(export)
        return lambda: policy.run_until_stopped(step)

    def _step_of(self, export: Export) -> Callable[[], int]:
        """A step that says why nothing is taken, and when it is again."""

        def step() -> int:
            try:
                done = export.step()
            except ExportWaits as error:
                self._waiting.begins(export, error)
                if isinstance(error, ExportAway) and error.pause:
                    self._stop.wait(min(error.pause, _LONGEST_ASKED))
                raise
            self._waiting.ends(export)
            return done

        return step

    def _policy(self, export: Export, kind: type[ExportWaits], attempts: int) -> RetryPolicy:
        return RetryPolicy(
            kind,
            first_wait=export.settings.first_wait,
            longest_wait=export.settings.longest_wait,
            attempts=attempts,
            stop=self._stop,
            # Said as a condition.
            log=lambda _: None,
        )

    def _prune(self) -> None:
        position = REPORTED if self._settings.misp.url else None
        try:
            prune(self.path, self._settings, position, self._log)
        except JournalError as error:
            self._log(f"nothing is removed from the journal: {error}")

    def _prune_on(self) -> None:
        while not self._stop.wait(_FIRST_PRUNE_SECONDS):
            self._prune()
            self._stop.wait(_PRUNE_SECONDS)

    def _collecting(self, config: Path) -> Callable[[], int] | None:
        """What takes in the records of all proxies, where no reporter to MISP does."""
        relay = backend_of(config, self._settings).relay
        if relay is None or self._settings.misp.url:
            return None
        return relay.collect(config, self._settings, Journal(self.path, is_durable=True))

    def _collect_on(self) -> None:
        assert self._collect is not None  # noqa: S101
        store_retries(0, self._stop, self._log).run_until_stopped(self._collect)

    def _guarded(
        self, run: Callable[[], None], failures: list[BaseException]
    ) -> Callable[[], None]:
        def guarded() -> None:
            try:
                run()
            except BaseException as error:  # noqa: BLE001 (`follow` raises it again)
                failures.append(error)
                self._stop.set()

        return guarded


class _Waiting:
    """Which exports wait, as one condition. For several threads."""

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor
        self._lock = threading.Lock()
        self._why: dict[str, str] = {}

    def begins(self, export: Export, error: ExportWaits) -> None:
        with self._lock:
            self._why[export.name] = printable(str(error))
            self._say()

    def ends(self, export: Export) -> None:
        with self._lock:
            if self._why.pop(export.name, None) is None:
                return
            if self._why:
                self._say()
            else:
                self._monitor.over(WAITS, "all exports go on")

    def _say(self) -> None:
        self._monitor.met(WAITS, "; ".join(f"{n}: {why}" for n, why in self._why.items()))


def only_exporter(journal: Path) -> AbstractContextManager[bool]:
    """Whether no other process exports this journal; in the `with` no other process can."""
    lock = journal.with_name(f"{journal.name}.exporter")
    return lock_file(lock, FILE_MODE, owner_of=journal.parent)
