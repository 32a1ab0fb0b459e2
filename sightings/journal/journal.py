"""The journal of matches: SQLite in WAL mode, one record a matched rule.

The file is on the proxy, so it contains neither URLs nor indicators, only the UUIDs of
MISP's attributes. Who has access to MISP can look these up there.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from inkgate.sightings.journal.block import Block, blocks_of
from inkgate.sightings.journal.sighting import Sighting

if TYPE_CHECKING:
    import sqlite3

    from inkgate.sightings.journal.in_place import Extent, FileId


class Journal:
    """A journal file. Opened at first use; may be shared by threads and processes.

    Args:
        path: the SQLite file; made with mode 0640 if it is not there.
        busy_timeout: seconds to wait for another writer.
        is_durable: what is recorded survives a power cut, too.
        on_moved: called when the file was moved or deleted while it was open, and the one
            that lies there now, or a new one, is written to.
    """

    def __init__(
        self,
        path: Path,
        *,
        busy_timeout: float = 5.0,
        is_durable: bool = False,
        on_moved: Callable[[], None] | None = None,
    ) -> None:
        self._path = path
        self._is_durable = is_durable
        self._busy_timeout = busy_timeout
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._opened: FileId | None = None
        self._extent: Extent | None = None
        self._on_moved = on_moved

    @property
    def path(self) -> Path:
        """The SQLite file."""
        return self._path

    def append(self, sightings: Sequence[Sighting]) -> None:
        """Record sightings in one transaction, which is committed on return.

        Raises:
            JournalError: they were not recorded.
            UnicodeEncodeError: nor were these, since UTF-8 cannot hold one of their texts.
        """
        blocks = list(blocks_of(sightings))
        with self._writing() as connection:
            from inkgate.sightings.journal.database import transaction  # noqa: PLC0415
            from inkgate.sightings.journal.records import insert_block  # noqa: PLC0415

            with transaction(connection):
                for node, block in blocks:
                    insert_block(connection, node, block.packed())

    def append_block(self, node: str, block: Block) -> None:
        """As `append`, of one block of what a proxy saw: the way that requests take.

        Raises:
            JournalError: they were not recorded.
        """
        with self._writing() as connection:
            # Imported here: most helpers run for a long time before their first match.
            from inkgate.sightings.journal.records import insert_block  # noqa: PLC0415

            insert_block(connection, node, block.packed())

    def adopt(self, copies: Sequence[tuple[str, Sighting]]) -> None:
        """Record copies of records of other journals. Origins that are here already are left out.

        Raises:
            JournalError: they were not recorded.
        """
        with self._writing() as connection:
            from inkgate.sightings.journal.database import transaction  # noqa: PLC0415
            from inkgate.sightings.journal.records import insert  # noqa: PLC0415

            with transaction(connection):
                insert(connection, copies)

    def read(self, *, since: float = 0.0, incident: str | None = None) -> Iterator[Sighting]:
        """Sightings, by and large in the order of their recording.

        Args:
            since: leave out what is older (seconds since 1970).
            incident: only those with this id.

        Raises:
            JournalError: the file cannot be read; a file that is not there is empty.
        """
        from inkgate.sightings.journal.records import sightings  # noqa: PLC0415

        # Also what is no file at all is to be said, for instance a link that leads nowhere.
        if os.path.lexists(self._path):
            with self._reading() as connection:
                yield from sightings(connection, since=since, incident=incident)

    def damaged(self) -> int:
        """How many blocks of incidents cannot be read any more.

        Raises:
            JournalError: nor can the file, or it is not there.
        """
        from inkgate.sightings.journal.records import count_damaged  # noqa: PLC0415

        with self._reading() as connection:
            return count_damaged(connection)

    def join(self, agree: Callable[[str], str]) -> None:
        """Agree with other reporters on one installation id, and keep it.

        Args:
            agree: offers this file's id to the others; returns the one that all use.

        Raises:
            JournalError: the file cannot be used.
        """
        with self._writing() as connection:
            from inkgate.sightings.journal.database import installation  # noqa: PLC0415

            agreed = agree(installation(connection))
            connection.execute(
                "UPDATE state SET value = ? WHERE name = 'installation' AND value <> ?",
                (agreed, agreed),
            )

    def keep_below(self, most_bytes: int) -> int:
        """Remove the oldest records while the file holds more than so many bytes of them.

        Also on a full disk, in the room of the reserve.

        Returns:
            How many rows (blocks of incidents, or records) were removed.

        Raises:
            JournalError: the file cannot be used.
        """
        from inkgate.sightings.journal.reserve import deleting, keep  # noqa: PLC0415

        dropped = 0
        if self._is_larger(most_bytes):
            dropped = deleting(self._path, lambda: self._kept_below(most_bytes))
        # A file that stays above its limit needs the reserve most.
        keep(self._path)
        return dropped

    def _kept_below(self, most_bytes: int) -> int:
        from inkgate.sightings.journal.records import drop_oldest  # noqa: PLC0415

        with self._writing() as connection:
            return drop_oldest(connection, most_bytes)

    def _is_larger(self, most_bytes: int) -> bool:
        """Whether the file and its log are; not all of them need hold records."""
        from inkgate.sightings.journal.in_place import extent  # noqa: PLC0415

        now = extent(self._path)
        return now.file + now.log > most_bytes

    def close(self) -> None:
        """Close the file; the next `append` opens it again."""
        with self._lock:
            self._drop()

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        from inkgate.sightings.journal.database import as_journal_errors, open_reader  # noqa: PLC0415

        connection = open_reader(self._path, busy_seconds=self._busy_timeout)
        with contextlib.closing(connection), as_journal_errors(self._path):
            yield connection

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """The connection, alone; closed if anything fails."""
        from inkgate.sightings.journal.database import as_journal_errors  # noqa: PLC0415
        from inkgate.sightings.journal.in_place import extent  # noqa: PLC0415

        with self._lock:
            try:
                with as_journal_errors(self._path):
                    yield self._writer()
                    self._extent = extent(self._path)
            except BaseException:
                self._drop()
                raise

    def _writer(self) -> sqlite3.Connection:
        from inkgate.sightings.journal.database import open_writer  # noqa: PLC0415
        from inkgate.sightings.journal.in_place import file_id, leave  # noqa: PLC0415

        if self._connection is not None and not self._is_as_it_was(self._connection):
            connection, self._connection = self._connection, None
            leave(connection, self._path, self._busy_timeout)
            if self._on_moved is not None:
                self._on_moved()
        if self._connection is None:
            self._connection = open_writer(
                self._path, busy_seconds=self._busy_timeout, is_durable=self._is_durable
            )
            self._opened = file_id(self._path)
            self._extent = None
        return self._connection

    def _is_as_it_was(self, connection: sqlite3.Connection) -> bool:
        """Whether nobody has moved, deleted or cut off what is open."""
        from inkgate.sightings.journal.in_place import extent, forget_log, is_in_place  # noqa: PLC0415

        if not is_in_place(self._path, self._opened):
            return False
        was, now = self._extent, extent(self._path)
        if was is None:
            return True
        is_same_log = now.log_id == was.log_id
        if is_same_log and now.log < was.log:
            forget_log(self._path)
        elif is_same_log and now.file < was.file:
            # What is in the log is put back. To open an empty file, SQLite removes its log.
            with contextlib.suppress(Exception):
                connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
        return is_same_log and now.file >= was.file and now.log >= was.log

    def _drop(self) -> None:
        from inkgate.sightings.journal.in_place import was_cut_off  # noqa: PLC0415

        if self._connection is not None:
            was_cut_off(self._path)
            self._connection.close()
            self._connection = None
