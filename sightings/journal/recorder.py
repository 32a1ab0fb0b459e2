"""From matches to the journal: what the helper and the ICAP server do with a hit."""

from __future__ import annotations

import atexit
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from inkgate.config.settings_file import SettingsError, load_section_meant, resolve
from inkgate.health.monitor import Monitor
from inkgate.rules.crypto.keys import KeyFileError
from inkgate.rules.lookup.matcher import Match
from inkgate.sightings.errors import JournalError
from inkgate.sightings.journal.backends.registry import own_file
from inkgate.sightings.journal.backlog import Backlog
from inkgate.sightings.journal.clients import Reducer, client_reducer
from inkgate.sightings.journal.journal import Journal
from inkgate.sightings.settings import SightingsSettings

# A single match is committed at once. Matches that follow within this time are committed
# together. A user does not notice so short a time.
_GATHER_SECONDS: Final = 0.05
_RETRY_SECONDS: Final = 1.0
_MOST_WAITING_BYTES: Final = 8 << 20
# How much may be written until the size of the file is looked at again.
_SIZE_LOOK_BYTES: Final = 256 << 10
_MIB: Final = 1 << 20

RecordIncident = Callable[[str, str, str, Sequence[Match]], None]
"""Called with client, method, incident id and matches, before the verdict is given."""


class Recorder:
    """Writes matches to the journal. If the journal fails, this is logged, and requests are
    blocked as before.

    A thread of its own commits, so that no answer waits for the disk, and the matches of a
    burst share few commits. A process that forks must make its Recorder after the fork:
    threads and SQLite's connections belong to one process.

    Args:
        config: the settings file.
        monitor: told of incidents that wait or are lost.
    """

    def __init__(self, config: Path, monitor: Monitor) -> None:
        self._monitor = monitor
        self._node = ""
        self._path: Path | None = None
        self._reduce: Reducer = str
        self._backlog = Backlog(_MOST_WAITING_BYTES)
        self._has_work = threading.Event()
        self._ended = threading.Event()
        self._writing = threading.Lock()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._journal: Journal | None = None
        self._failing = False
        self._hard_bytes = 0
        # The file may be full from before.
        self._unmeasured = _SIZE_LOOK_BYTES
        try:
            settings = load_section_meant(config, "sightings", SightingsSettings)
            self._path = own_file(config, settings)
        except SettingsError as error:
            monitor.met("settings-refused", f"no incident is journalled: {error}")
            return
        self._node = settings.node_name()
        self._hard_bytes = settings.hard_mib * _MIB
        self._reduce = self._reducer(settings, config)
        atexit.register(self.close)

    def record(self, client: str, method: str, incident: str, matches: Sequence[Match]) -> None:
        """Journal one incident: it is on its way to the file when this returns."""
        if self._path is None:
            return
        try:
            self._backlog.add(incident, self._reduce(client), method, matches)
        except Exception as error:  # noqa: BLE001 (the request must be answered whatever happens here)
            self._monitor.met("incident-lost", f"it cannot be kept: {type(error).__name__}")
            return
        if not self._has_work.is_set():
            self._has_work.set()
            if self._thread is None:
                self._start_thread()

    def flush(self) -> None:
        """Write what has been recorded so far."""
        with self._writing:
            while self._write_block():
                pass

    def close(self) -> None:
        """End the thread and write what still waits. Also called when the process ends."""
        was_ended = self._ended.is_set()
        self._ended.set()
        self._has_work.set()
        with self._starting:
            thread = self._thread
        if thread is not None:
            # The thread must end before the interpreter does.
            thread.join()
        if not (was_ended and self._failing):
            self.flush()
        self._tell_dropped()

    def _start_thread(self) -> None:
        with self._starting:
            if self._thread is not None or self._ended.is_set():
                return
            thread = threading.Thread(target=self._write_until_closed, name="journal", daemon=True)
            try:
                thread.start()
            except RuntimeError as error:
                # The next match tries to start the thread again, and `close` writes what waits.
                self._has_work.clear()
                self._monitor.met("journal-failed", str(error))
            else:
                self._thread = thread

    def _write_until_closed(self) -> None:
        while self._has_work.wait() and not self._ended.is_set():
            self._has_work.clear()
            with self._writing:
                # Only full blocks: incidents that came while the last block was written are
                # written together, after the pause.
                while self._write_block() and self._backlog.has_full:
                    pass
            if not self._backlog.is_empty:
                # Incidents that came while this was set did not set it again.
                self._has_work.set()
            self._ended.wait(_RETRY_SECONDS if self._failing else _GATHER_SECONDS)

    def _write_block(self) -> bool:
        """Commit the oldest block, which waits on if it cannot be; whether to go on."""
        block = self._backlog.take()
        if block is None:
            return False
        try:
            self._keep_below(len(block.packed()))
            self._open().append_block(self._node, block)
        # Modules are read at the first match: without descriptors they cannot be.
        except (JournalError, OSError, ImportError) as error:
            self._backlog.put_back(block)
            self._failing = True
            self._monitor.met("journal-failed", f"incidents wait in memory: {error}")
            self._tell_dropped()
            return False
        except Exception as error:  # noqa: BLE001 (the thread goes on)
            self._monitor.met(
                "incident-lost",
                f"the journal does not take them: {type(error).__name__}",
                block.incidents,
            )
        self._failing = False
        self._monitor.over("journal-failed", "the journal can be written again")
        self._tell_dropped()
        return True

    def _keep_below(self, coming: int) -> None:
        """Make room in a file that no reporter keeps below hard_mib."""
        self._unmeasured += coming
        if self._unmeasured < _SIZE_LOOK_BYTES:
            return
        if dropped := self._open().keep_below(self._hard_bytes - _SIZE_LOOK_BYTES):
            self._monitor.met(
                "journal-cut",
                f"{self._path}: larger than hard_mib: the {dropped} oldest rows are removed",
                dropped,
            )
        self._unmeasured = 0

    def _tell_moved(self) -> None:
        self._monitor.met(
            "journal-moved", f"{self._path}: moved, deleted or cut off while in use: opened again"
        )

    def _tell_dropped(self) -> None:
        dropped = self._backlog.take_dropped()
        if dropped:
            self._monitor.met(
                "incident-lost",
                f"more than {_MOST_WAITING_BYTES >> 20} MiB of incidents wait: the oldest are "
                "dropped",
                dropped,
            )

    def _open(self) -> Journal:
        if self._journal is None:
            assert self._path is not None  # noqa: S101
            self._journal = Journal(self._path, on_moved=self._tell_moved)
        return self._journal

    def _reducer(self, settings: SightingsSettings, config: Path) -> Reducer:
        try:
            return client_reducer(settings.clients, resolve(config, settings.clients_key_file))
        except KeyFileError as error:
            # An operator who asked for hashes does not want plain addresses in the journal.
            self._monitor.met("clients-not-journalled", str(error))
            return lambda _client: ""
