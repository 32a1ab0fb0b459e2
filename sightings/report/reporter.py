"""From the journal to MISP: collect, fold, send, forget."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final, NamedTuple

from inkgate.config.locks import lock_file
from inkgate.config.printable import Log
from inkgate.config.settings_file import SettingsError
from inkgate.sightings.journal.backends.backend import DRAINED, Step, StoreAwayError
from inkgate.sightings.journal.backends.registry import backend_of, own_file, reported_file
from inkgate.sightings.journal.database import FILE_MODE
from inkgate.sightings.journal.journal import Journal
from inkgate.sightings.report.misp import MispSightings, RetryLater
from inkgate.sightings.report.outbox import REPORTED, Item, Outbox, ReportState
from inkgate.sightings.report.retention import prune
from inkgate.sightings.report.retrying import RetryPolicy
from inkgate.sightings.settings import SightingsSettings

_TOLD_LOOKED_AT: Final = 10
_PRUNE_SECONDS: Final = 3600.0
_FIRST_PRUNE_SECONDS: Final = 10.0
_STORE_FIRST_WAIT: Final = 0.2
_STORE_LONGEST_WAIT: Final = 10.0
_STORE_ATTEMPTS: Final = 8


class ReportCounts(NamedTuple):
    """How many sightings MISP has taken, has refused, and that wait."""

    reported: int
    refused: int
    waiting: int


class Reporter:
    """Reports one journal to one MISP.

    Args:
        config: the settings file.
        settings: section `[sightings]`.
        log: takes one line without secrets.
        stop: ends `follow` when it is set.
        before: called when keys and passwords are read and no journal is open yet.
        tell: told, at each attempt, why MISP takes nothing; empty once that is over.

    Raises:
        SettingsError: there is no MISP or no journal.
        Unreadable: a key or password cannot be read.
    """

    def __init__(
        self,
        config: Path,
        settings: SightingsSettings,
        log: Log,
        stop: threading.Event,
        *,
        before: Callable[[], None] = lambda: None,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        path = reported_file(config, settings)
        if path is None or not settings.misp.url:
            raise SettingsError(
                config, "[sightings] has no journal or no MISP", "set journal and misp.url"
            )
        self._config = config
        self._settings = settings
        self._log = log
        self._tell = tell
        self._is_away = False
        self._stop = stop
        self._path = path
        self._prune_if_due = _at_most_hourly(self.prune)
        folder = config.absolute().parent
        self._misp = MispSightings(
            settings.misp,
            folder,
            settings.window_hours,
            before=lambda items: self._outbox.try_again(i.uuid for i in items),
            told=lambda: self._outbox.told(_TOLD_LOOKED_AT),
        )
        self._collect = self._collecting()
        before()
        self._outbox = Outbox(path, settings.window_hours)

    @property
    def path(self) -> Path:
        """The journal that is reported."""
        return self._path

    def close(self) -> None:
        """Close the journal."""
        self._outbox.close()

    def report_all(self) -> ReportCounts:
        """Report all that waits, with a few attempts if a server does not answer.

        Raises:
            RetryLater, StoreAwayError: a server did not answer; the rest waits.
            NeedsOperator, StoreRefusedError, JournalError: an operator must act.
        """
        before = self._outbox.counts()
        if collect := self._collect:
            self._store_retries(_STORE_ATTEMPTS).run_until_idle(collect)
        while self._outbox.fold():
            pass
        try:
            self._misp_retries(self._settings.misp.attempts).run_until_idle(self._send_all)
            after = self._outbox.counts()
        finally:
            self.prune()
        return ReportCounts(
            after[ReportState.REPORTED] - before[ReportState.REPORTED],
            after[ReportState.REFUSED] - before[ReportState.REFUSED],
            after[ReportState.WAITING],
        )

    def follow(self) -> None:
        """Report matches as they come, until `stop` is set. Waits for servers that do not answer.

        Raises:
            NeedsOperator, StoreRefusedError, JournalError, Unreadable: an operator must act.
        """
        failures: list[BaseException] = []
        work = [self._prune_on]
        if collect := self._collect:
            work.append(lambda: self._store_retries(0).run_until_stopped(collect))
        helpers = [self._thread(run, failures) for run in work]
        try:
            self._misp_retries(0).run_until_stopped(self.step)
        finally:
            self._stop.set()
            for helper in helpers:
                helper.join()
        if failures:
            raise failures[0]

    def step(self) -> int:
        """Fold some records, send some sightings; how much there was to do."""
        done = self._outbox.fold() + self.send()
        if self._is_away:
            self._is_away = False
            self._tell("")
        return done

    def send(self) -> int:
        """Send some of what waits; how much of it is settled.

        Raises:
            RetryLater: MISP takes none.
            NeedsOperator: the key is no good for this.
        """
        settled = 0
        for items, state, reason in self._misp.send(self._waiting()):
            if not items:
                continue
            names = [item.uuid for item in items]
            if state is ReportState.WAITING:
                self._outbox.put_off(names, reason)
                self._log(f"{len(items)} sightings wait for another attempt: {reason}")
                continue
            self._outbox.settle(names, state, reason)
            settled += len(items)
            if state is ReportState.REFUSED:
                self._log(f"MISP refused {len(items)} sightings: {reason}")
        return settled

    def _send_all(self) -> int:
        settled = self.send()
        if not settled and (waiting := self._outbox.counts()[ReportState.WAITING]):
            raise RetryLater(f"{waiting} sightings rest after a failure")
        return settled

    def _waiting(self) -> list[Item]:
        misp = self._settings.misp
        return self._outbox.waiting(misp.batch, misp.first_wait, misp.longest_wait)

    def prune(self) -> None:
        """Remove what is old and reported."""
        prune(self._path, self._settings, REPORTED, self._log)

    def _prune_on(self) -> None:
        while not self._stop.wait(_FIRST_PRUNE_SECONDS):
            self._prune_if_due()

    def _collecting(self) -> Step | None:
        """The step that takes in the records of all proxies; None if the journal is not shared."""
        relay = backend_of(self._config, self._settings).relay
        if relay is None:
            return None
        # Durable: entries that are acknowledged are removed from the store, so a power cut
        # here must not lose them.
        return relay.collect(self._config, self._settings, Journal(self._path, is_durable=True))

    def _thread(self, run: Callable[[], None], failures: list[BaseException]) -> threading.Thread:
        def guarded() -> None:
            try:
                run()
            except BaseException as error:  # noqa: BLE001 (`follow` raises it again)
                failures.append(error)
                self._stop.set()

        thread = threading.Thread(target=guarded, name=run.__name__)
        thread.start()
        return thread

    def _misp_retries(self, attempts: int) -> RetryPolicy:
        misp = self._settings.misp
        return RetryPolicy(
            RetryLater,
            first_wait=misp.first_wait,
            longest_wait=misp.longest_wait,
            attempts=attempts,
            stop=self._stop,
            log=self._not_taken,
        )

    def _not_taken(self, line: str) -> None:
        self._is_away = True
        self._tell(line)
        self._log(line)

    def _store_retries(self, attempts: int) -> RetryPolicy:
        return store_retries(attempts, self._stop, self._log)


def drain(
    config: Path,
    settings: SightingsSettings,
    log: Log,
    stop: threading.Event,
    *,
    follow: bool,
    again: bool = False,
    before: Callable[[], None] = lambda: None,
    tell: Callable[[str], None] = lambda _: None,
) -> int:
    """Hand this proxy's records over to the store that proxies share; returns how many.

    Args:
        again: first all records that are still here once more: what has arrived is recognised.
        before: called when the password is read and the journal is not open yet.
        tell: told, at each attempt, why the store takes nothing; empty once that is over.

    Raises:
        SettingsError: the journal is not shared.
        StoreAwayError: the store did not answer; the records stay here.
        StoreRefusedError, JournalError: an operator must act.
    """
    path, backend = own_file(config, settings), backend_of(config, settings)
    if path is None or backend.relay is None:
        problem = f"[sightings] journal is {backend.name}"
        raise SettingsError(config, problem, "nothing is to be drained")
    is_away = False

    def failed(text: str) -> None:
        nonlocal is_away
        is_away = True
        tell(text)
        log(text)

    retries = store_retries(0 if follow else _STORE_ATTEMPTS, stop, failed)
    prune_if_due = _at_most_hourly(lambda: prune(path, settings, DRAINED, log))
    with backend.relay.drain(config, settings, path, before, again) as to_store:

        def hand_over() -> int:
            nonlocal is_away
            done = to_store()
            if is_away:
                is_away = False
                tell("")
            return done

        if not follow:
            done = retries.run_until_idle(hand_over)
            prune_if_due()
            return done

        def step() -> int:
            prune_if_due()
            return hand_over()

        retries.run_until_stopped(step)
        return 0


def _at_most_hourly(work: Callable[[], object]) -> Callable[[], None]:
    """A function that does work at its first call, and then once an hour at most."""
    due = 0.0

    def call() -> None:
        nonlocal due
        if time.monotonic() >= due:
            work()
            due = time.monotonic() + _PRUNE_SECONDS

    return call


def only_reporter(journal: Path) -> AbstractContextManager[bool]:
    """Whether no other process reports this journal; in the `with` no other process can."""
    # Not the database itself: closing a second descriptor of it releases SQLite's locks.
    lock = journal.with_name(f"{journal.name}.reporter")
    return lock_file(lock, FILE_MODE, owner_of=journal.parent)


def store_retries(attempts: int, stop: threading.Event, log: Log) -> RetryPolicy:
    """The retries of requests to the store that proxies share."""
    return RetryPolicy(
        StoreAwayError,
        first_wait=_STORE_FIRST_WAIT,
        longest_wait=_STORE_LONGEST_WAIT,
        attempts=attempts,
        stop=stop,
        log=log,
    )
