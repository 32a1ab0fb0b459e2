"""The SQLite files of sightings: opening, schema, migration, transactions.

Records, outbox and positions (up to which records were handed on) are in one file. So one
transaction changes all of them, and after a power cut they still fit together.
"""

from __future__ import annotations

import contextlib
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from inkgate.config.locks import lock_folder
from inkgate.config.owner import OwnerError, refuse_other_owner
from inkgate.config.whole_file import create_once
from inkgate.sightings.errors import JournalError

SCHEMA: Final = 4
_SHORT_LOG_PAGES: Final = 100
BUSY_SECONDS: Final = 5.0
FILE_MODE: Final = 0o640

# The SQL statements from each schema to the next one.
_STEPS: Final = (
    """
    CREATE TABLE sightings (
        id INTEGER PRIMARY KEY,
        time REAL NOT NULL,
        incident TEXT NOT NULL,
        class TEXT NOT NULL,
        attributes TEXT NOT NULL,
        client TEXT NOT NULL,
        method TEXT NOT NULL,
        action TEXT NOT NULL,
        node TEXT NOT NULL
    ) STRICT;
    CREATE INDEX sightings_incident ON sightings (incident);
    """,
    # The index of incidents is dropped: incident ids are random, so each record changed
    # another page of the index, which was most of the cost of a commit. Looking up an
    # incident scans the table instead.
    # Column origin: the record of another proxy that this one is a copy of. A proxy's own
    # records have no origin and are not in the index.
    """
    DROP INDEX sightings_incident;
    ALTER TABLE sightings ADD COLUMN events TEXT NOT NULL DEFAULT '[]';
    ALTER TABLE sightings ADD COLUMN origin TEXT;
    CREATE UNIQUE INDEX sightings_origin ON sightings (origin) WHERE origin IS NOT NULL;
    CREATE TABLE positions (
        name TEXT PRIMARY KEY,
        id INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE handed_over (
        id INTEGER PRIMARY KEY,
        time REAL NOT NULL,
        server TEXT NOT NULL
    ) STRICT;
    CREATE TABLE outbox (
        uuid TEXT PRIMARY KEY,
        type INTEGER NOT NULL,
        attribute TEXT NOT NULL,
        event TEXT NOT NULL,
        node TEXT NOT NULL,
        first REAL NOT NULL,
        last REAL NOT NULL,
        count INTEGER NOT NULL,
        state INTEGER NOT NULL,
        tries INTEGER NOT NULL DEFAULT 0,
        reason TEXT NOT NULL DEFAULT '',
        changed REAL NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX outbox_state ON outbox (state, event);
    """,
    # The id of this installation is part of each sighting's UUID, so that two installations
    # never make the same UUID.
    """
    ALTER TABLE outbox ADD COLUMN failures INTEGER NOT NULL DEFAULT 0;
    CREATE TABLE state (
        name TEXT PRIMARY KEY,
        value TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
    INSERT INTO state (name, value) VALUES ('installation', lower(hex(randomblob(16))));
    """,
    # Blocks: incidents as the helper writes them, until a command turns them into rows
    # (records.py).
    """
    CREATE TABLE blocks (
        id INTEGER PRIMARY KEY,
        time REAL NOT NULL,
        node TEXT NOT NULL,
        data BLOB NOT NULL,
        is_damaged INTEGER NOT NULL DEFAULT 0
    ) STRICT;
    """,
)


def open_writer(
    path: Path, *, busy_seconds: float = BUSY_SECONDS, is_durable: bool = False
) -> sqlite3.Connection:
    """Open a file for writing; make it with mode 0640 or bring it to the present schema.

    Transactions are explicit (`transaction`).

    Args:
        path: the file.
        busy_seconds: how long to wait for another writer.
        is_durable: what is committed survives a power cut.

    Raises:
        JournalError: it cannot be opened, or a newer inkgate wrote it.
    """
    # One opener at a time: SQLite does not wait for a lock while it changes a file to WAL mode.
    with as_journal_errors(path), lock_folder(path.parent, busy_seconds):
        _check_files(path)
        # Created here with its mode: SQLite gives the files beside it the same mode. If root
        # creates it, it gets the folder's owner: otherwise Squid's user could not write to a
        # journal that an operator was the first to open.
        create_once(path, b"", FILE_MODE, owner_of=path.parent)
        connection = sqlite3.connect(
            path, timeout=busy_seconds, check_same_thread=False, isolation_level=None
        )
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            # In WAL mode with NORMAL no record is lost when a process ends. A power cut may
            # lose the last records. FULL waits for the disk at each commit.
            connection.execute(f"PRAGMA synchronous = {'FULL' if is_durable else 'NORMAL'}")
            _migrate(connection, check_schema(connection, path))
        except BaseException:
            connection.close()
            raise
        return connection


def open_reader(path: Path, *, busy_seconds: float = BUSY_SECONDS) -> sqlite3.Connection:
    """Open a file for reading, whatever its schema.

    Raises:
        JournalError: it cannot be opened, or a newer inkgate wrote it.
    """
    with as_journal_errors(path):
        _check_files(path)
        uri = f"{path.absolute().as_uri()}?mode=ro"
        connection = sqlite3.connect(uri, uri=True, timeout=busy_seconds)
        try:
            check_schema(connection, path)
        except BaseException:
            connection.close()
            raise
        return connection


def check_schema(connection: sqlite3.Connection, path: Path) -> int:
    """The file's schema, 0 if it is new.

    Raises:
        JournalError: it is newer than this program.
    """
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > SCHEMA:
        raise JournalError(
            f"{path}: written by a newer inkgate (schema {version}); upgrade this one"
        )
    return version


def installation(connection: sqlite3.Connection) -> str:
    """The random id of this installation: 32 hexadecimal digits."""
    row = connection.execute("SELECT value FROM state WHERE name = 'installation'").fetchone()
    if row is None:
        raise sqlite3.DatabaseError("the installation's id is gone from it")
    return str(row[0])


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All or nothing. Takes the write lock at the beginning, so that no statement in the
    middle fails because another process has the lock."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        # SQLite may have rolled back already when the statement failed.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


@contextlib.contextmanager
def short_log(connection: sqlite3.Connection) -> Iterator[None]:
    """Move pages from the log into the file before the log is long: a disk may be full."""
    (usual,) = connection.execute("PRAGMA wal_autocheckpoint").fetchone()
    connection.execute(f"PRAGMA wal_autocheckpoint = {_SHORT_LOG_PAGES}")
    try:
        yield
    finally:
        with contextlib.suppress(sqlite3.Error):
            connection.execute(f"PRAGMA wal_autocheckpoint = {usual}")


@contextlib.contextmanager
def as_journal_errors(path: Path) -> Iterator[None]:
    """Turn errors of SQLite and of the system into a JournalError."""
    try:
        yield
    except UnicodeEncodeError:
        # This error is about the text to be written, not about the file.
        raise
    except OwnerError as error:
        raise JournalError(str(error)) from None
    except (sqlite3.Error, OSError, ValueError) as error:
        problem = (isinstance(error, OSError) and error.strerror) or error
        raise JournalError(
            f"{path}: {problem}; check that the folder exists, belongs to the proxy's user "
            "and has room"
        ) from None


def _check_files(path: Path) -> None:
    """See that SQLite will open regular files, before it does.

    It follows links, and it waits for ever for somebody to write into a pipe.

    Raises:
        JournalError: something else lies there.
        OwnerError: this is root, and the folder belongs to somebody else.
    """
    refuse_other_owner(path.parent)
    for suffix in ("", "-wal", "-shm", "-journal"):
        file = path.with_name(path.name + suffix)
        with contextlib.suppress(FileNotFoundError):
            if not stat.S_ISREG(file.lstat().st_mode):
                raise JournalError(
                    f"{file}: is not a file but {_kind(file.lstat().st_mode)}; see who put it "
                    "there, and remove it"
                )


def _kind(mode: int) -> str:
    kinds = {stat.S_IFLNK: "a link", stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe"}
    return kinds.get(stat.S_IFMT(mode), "a socket or a device")


def _migrate(connection: sqlite3.Connection, version: int) -> None:
    for step in range(version, SCHEMA):
        # Each step and its schema number are one transaction: if the process is killed,
        # the file has the old schema or the new one.
        connection.executescript(
            f"BEGIN IMMEDIATE; {_STEPS[step]} PRAGMA user_version = {step + 1}; COMMIT;"
        )
