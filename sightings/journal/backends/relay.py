"""Between a proxy's own journal and the reporter's: out to a shared store, and in from it.

A proxy appends to its own file whatever the store does. Draining moves a position along
that file. Collecting journals copies by their origin, so a record that comes twice is
journalled once.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple, Protocol, Self

from inkgate.sightings.journal.backends.backend import DRAINED
from inkgate.sightings.journal.database import as_journal_errors, open_writer, transaction
from inkgate.sightings.journal.journal import Journal
from inkgate.sightings.journal.records import next_records
from inkgate.sightings.journal.sighting import Sighting

_ROWS: Final = 500
# A server that restarts or fails over may lose the entries that it accepted last: with
# Redis's appendonly and everysec those of one or two seconds, with a failover those that
# the replica did not have yet.
_RESEND_SECONDS: Final = 60.0
_WHOLE_SECONDS: Final = 600.0

Copy = tuple[str, Sighting]
"""A record that is moved, with its origin: the same name in every journal."""


class SharedStore(Protocol):
    """A store of records between several proxies and their reporters.

    All methods raise `StoreAwayError` or `StoreRefusedError`.
    """

    def server(self) -> str:
        """An id of the running server: another one when it may have lost its last entries."""

    def mark(self, offered: str) -> str:
        """The mark that lies in the store: the first that was offered since it was emptied.

        Empty if this user may not know it.
        """

    def add(self, copies: Sequence[Copy]) -> None:
        """Append entries; on an exception some of them may be there."""

    def prepare(self) -> None:
        """Make what reading needs, if it is not there."""

    def installation(self, offered: str) -> str:
        """The installation id on which all reporters agree: the first that was offered."""

    def take(self, count: int) -> list[tuple[bytes, Copy | None]]:
        """Entries that this reporter has to journal, with their ids; None where unreadable."""

    def put_aside(self, names: Sequence[bytes]) -> None:
        """Copy unreadable entries to another place, to be looked at by an operator."""

    def acknowledge(self, names: Sequence[bytes]) -> None:
        """Entries are safe elsewhere: they are not delivered again, and may be removed."""


class _Server(NamedTuple):
    """A store as it was met; `mark` is empty where it is not known."""

    run: str
    mark: str

    @classmethod
    def of(cls, text: str) -> _Server:
        run, _, mark = text.partition(" ")
        return cls(run, mark)

    @property
    def text(self) -> str:
        return f"{self.run} {self.mark}".rstrip()

    def is_emptied_since(self, known: _Server) -> bool:
        return bool(self.mark and known.mark) and self.mark != known.mark


class Drain:
    """Moves this proxy's records to the store. For one thread; use it in a `with`.

    Args:
        path: the proxy's own journal.
        store: where they go.
        again: hand over all that is still here once more.
    """

    def __init__(self, path: Path, store: SharedStore, *, again: bool = False) -> None:
        self._path = path
        self._store = store
        self._is_again = again
        self._next_whole = 0.0
        self._connection = open_writer(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def step(self) -> int:
        """Hand over the next records; how many were looked at.

        Raises:
            JournalError: the file cannot be used.
            StoreAwayError, StoreRefusedError: they stay here.
        """
        with as_journal_errors(self._path):
            server = _Server(self._store.server(), self._store.mark(uuid.uuid4().hex))
            server = self._rewound(server)
            found = next_records(self._connection, self._position(), _ROWS)
            if not found:
                return 0
            # What the check through this proxy met concerns nobody else.
            if told := [(r.origin, r.sighting) for r in found if not r.sighting.is_canary]:
                self._store.add(told)
            self._note(found[-1].id, server)
            return len(found)

    def _position(self) -> int:
        row = self._connection.execute(
            "SELECT id FROM positions WHERE name = ?", (DRAINED,)
        ).fetchone()
        return row[0] if row else 0

    def _note(self, position: int, server: _Server) -> None:
        now = time.time()
        with transaction(self._connection):
            self._set_position(position)
            self._connection.execute(
                "INSERT OR REPLACE INTO handed_over (id, time, server) VALUES (?, ?, ?)",
                (position, now, server.text),
            )
            # The newest of the old rows stays: a rewind goes back to its position.
            self._connection.execute(
                "DELETE FROM handed_over WHERE id < "
                "(SELECT max(id) FROM handed_over WHERE time < ?)",
                (now - _RESEND_SECONDS,),
            )

    def _rewound(self, server: _Server) -> _Server:
        """Hand over again what the store may have lost since it took it.

        Another server, or this one before its restart, may have lost what it took last; one
        that was emptied has lost all. That is given again at most every ten minutes, in case
        the store keeps no mark.

        Returns:
            The server to be noted.
        """
        last = self._connection.execute(
            "SELECT time, server FROM handed_over ORDER BY id DESC LIMIT 1"
        ).fetchone()
        known = _Server.of(last[1]) if last is not None else server
        is_emptied = server.is_emptied_since(known)
        if (self._is_again or is_emptied) and time.monotonic() >= self._next_whole:
            self._is_again = False
            self._next_whole = time.monotonic() + _WHOLE_SECONDS
            self._rewind(None, server)
        elif last is not None and known.run != server.run:
            self._rewind(self._before(last[0] - _RESEND_SECONDS), server)
        elif is_emptied:
            return server._replace(mark=known.mark)
        return server

    def _rewind(self, position: int | None, server: _Server) -> None:
        with transaction(self._connection):
            if position is None:
                oldest = self._connection.execute("SELECT min(id) FROM sightings").fetchone()[0]
                position = (oldest or 1) - 1
            self._connection.execute("DELETE FROM handed_over WHERE id > ?", (position,))
            self._set_position(min(position, self._position()))
            self._connection.execute("UPDATE handed_over SET server = ?", (server.text,))

    def _before(self, moment: float) -> int | None:
        """Up to where everything was handed over before a time, if that is still known."""
        select = "SELECT max(id) FROM handed_over WHERE time < ?"
        found: int | None = self._connection.execute(select, (moment,)).fetchone()[0]
        return found

    def _set_position(self, position: int) -> None:
        self._connection.execute(
            "INSERT OR REPLACE INTO positions (name, id) VALUES (?, ?)", (DRAINED, position)
        )


class Collect:
    """Moves entries of the store into the reporter's journal.

    Args:
        store: where they come from.
        journal: where they go.
    """

    def __init__(self, store: SharedStore, journal: Journal) -> None:
        self._store = store
        self._journal = journal
        self._is_prepared = False

    def step(self) -> int:
        """Journal the next entries, and only then acknowledge them; how many.

        Raises:
            JournalError: the file cannot be used.
            StoreAwayError, StoreRefusedError: the entries stay there.
        """
        if not self._is_prepared:
            self._store.prepare()
            # Before the first record is folded into the outbox: reporters that share a store
            # must give the same sighting the same UUID.
            self._journal.join(self._store.installation)
            self._is_prepared = True
        entries = self._store.take(_ROWS)
        if not entries:
            return 0
        unreadable = [name for name, copy in entries if copy is None]
        if unreadable:
            self._store.put_aside(unreadable)
        self._journal.adopt([copy for _, copy in entries if copy is not None])
        self._store.acknowledge([name for name, _ in entries])
        return len(entries)
