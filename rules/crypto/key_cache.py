"""The key cache: stretched values that this machine has derived before.

Shared by all helpers and ICAP workers, kept over restarts and refreshes of one epoch.
Entries are keyed by a per-installation HMAC, so the file does not name the
values. What a thief of this file and its key can do is in docs/threat-model.md.
"""

from __future__ import annotations

import contextlib
import hmac
import os
import stat
import weakref
from pathlib import Path
from typing import Final, NoReturn

import lmdb

from inkgate.config.modes import make_folder
from inkgate.config.owner import refuse_other_owner
from inkgate.config.whole_file import create_once
from inkgate.rules.canonical.fields import length_prefixed
from inkgate.rules.crypto.lmdb_file import (
    OpenedFile,
    allocate_lock,
    is_whole,
    lock_path,
    whole_bytes,
)
from inkgate.rules.crypto.profiles import STRETCHED_BYTES

INSTALLATION_KEY: Final = "installation.key"
_KEY_BYTES: Final = 32
_INDEX_BYTES: Final = 16
_CHECK_BYTES: Final = 8
_READERS: Final = 512
# Says to other processes that a file was cut off. LMDB changes no modes.
_SPOILT_MODE: Final = 0o400
# No value is of this kind.
_NO_KIND: Final = "room"
# What is cut off and cannot get its pages back would end the process when it is closed.
_never_closed: Final[list[lmdb.Environment]] = []


def read_installation_key(folder: Path) -> bytes:
    """This machine's own random key, made on first use (mode 0600).

    Raises:
        OSError: it can neither be read nor made.
    """
    path = folder / INSTALLATION_KEY
    make_folder(folder, 0o700)
    create_once(path, os.urandom(_KEY_BYTES), 0o600)
    key = path.read_bytes()
    if len(key) != _KEY_BYTES:
        raise OSError(f"{path} is damaged; remove it and the files beside it")
    return key


class CutOffError(lmdb.Error):
    """A file of the key cache was cut off while it was mapped."""


class KeyCache:
    """Stretched values on disk, for one rule set epoch.

    Args:
        folder: where the files lie; it belongs to this user.
        set_id: the epoch. Files of other epochs are useless and are removed.
        limit: the file's largest size in bytes; at the limit the cache starts anew.
        durable: wait for the disk at every write. Without this, a power cut may leave any
            bytes (LMDB, MDB_NOSYNC), so each start of the machine begins a new file.

    Raises:
        OSError, lmdb.Error: it cannot be opened.
        OwnerError: this is root, and the folder belongs to somebody else.
    """

    def __init__(
        self, folder: Path, set_id: str, limit: int = 256 << 20, *, durable: bool = False
    ) -> None:
        refuse_other_owner(folder)
        self._key = read_installation_key(folder)
        path = folder / (f"{set_id}.mdb" if durable else f"{set_id}.{_boot()}.mdb")
        self._env = _open_whole(path, limit, durable=durable)
        self._data = OpenedFile.at(path)
        self._data_fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        weakref.finalize(self, os.close, self._data_fd)
        self._lock = OpenedFile.at(lock_path(path))
        _remove_others(folder, path)

    def index(self, kind: str, data: bytes) -> bytes:
        """The key under which a value lies."""
        return hmac.digest(self._key, length_prefixed(kind.encode(), data), "sha256")[:_INDEX_BYTES]

    def get(self, kind: str, data: bytes) -> bytes | None:
        """The stretched bytes of a value, or None.

        Raises:
            lmdb.Error: the files cannot be used any more; `CutOffError` if they were cut off.
        """
        index = self.index(kind, data)
        self._check()
        with self._env.begin() as txn:
            found: bytes | None = txn.get(index)
        if found is None or found[STRETCHED_BYTES:] != self._check_of(
            index, found[:STRETCHED_BYTES]
        ):
            return None
        return found[:STRETCHED_BYTES]

    def put_many(self, entries: list[tuple[str, bytes, bytes]]) -> None:
        """Keep (kind, value, stretched) triples.

        Raises:
            lmdb.Error: as `get`.
        """
        self._check()
        rows = [(self.index(kind, data), stretched) for kind, data, stretched in entries]
        rows = [(index, stretched + self._check_of(index, stretched)) for index, stretched in rows]
        try:
            self._put(rows)
        except lmdb.MapFullError:
            with self._env.begin(write=True) as txn:
                txn.drop(self._env.open_db(txn=txn), delete=False)
            with contextlib.suppress(lmdb.MapFullError):
                self._put(rows)

    @property
    def is_in_place(self) -> bool:
        """Whether both files lie where they were opened, whole; others may have removed them."""
        sizes = self._data.size(), self._lock.size()
        return sizes[0] >= self._data.bytes and sizes[1] >= self._lock.bytes

    def leave(self) -> None:
        """Remove what is left of both files, so that this process can make new ones.

        LMDB refuses to open a file anew whose lock file this process has open.
        """
        for file in (self._data, self._lock):
            if file.size() >= 0:
                file.path.unlink(missing_ok=True)

    def try_to_write(self) -> None:
        """See that there is room.

        Raises:
            lmdb.Error: there is none.
        """
        self.put_many([(_NO_KIND, b"", bytes(STRETCHED_BYTES))])

    def close(self) -> None:
        """Flush and close."""
        with contextlib.suppress(lmdb.Error):
            self._env.sync(True)
        self._env.close()

    def _check(self) -> None:
        """See that no mapped page was cut off: an access to it ends the process (SIGBUS).

        Costs two microseconds, and a derivation milliseconds. Files that only lost their
        names can be used on (`_remove_others`).

        Raises:
            CutOffError: one was cut off.
        """
        found = os.fstat(self._data_fd)
        if stat.S_IMODE(found.st_mode) == _SPOILT_MODE:
            raise CutOffError(f"{self._data.path} was cut off, as another process has found")
        if found.st_size < self._data.bytes:
            self._give_up(self._data)
        if 0 <= self._lock.size() < self._lock.bytes:
            self._give_up(self._lock)
        # First what is needed: another process may be writing, and the file only grows.
        needed = whole_bytes(self._env)
        if os.fstat(self._data_fd).st_size < needed:
            self._give_up(self._data)

    def _give_up(self, cut: OpenedFile) -> NoReturn:
        # Also what closes the files reads and writes them, and other processes have them
        # open: they get their pages back, which are empty. LMDB must not look at those, so
        # the file is marked for the others, and loses its name.
        try:
            os.fchmod(self._data_fd, _SPOILT_MODE)
            os.posix_fallocate(self._data_fd, 0, self._data.bytes)
            self._lock.restore()
        except OSError:
            _never_closed.append(self._env)
        self.leave()
        raise CutOffError(f"{cut.path} was cut off while in use")

    def _check_of(self, index: bytes, stretched: bytes) -> bytes:
        # With damaged stretched bytes a listed value would never be found, without any error.
        return hmac.digest(self._key, length_prefixed(index, stretched), "sha256")[:_CHECK_BYTES]

    def _put(self, rows: list[tuple[bytes, bytes]]) -> None:
        with self._env.begin(write=True) as txn:
            for index, stretched in rows:
                txn.put(index, stretched)


def _open_whole(path: Path, limit: int, *, durable: bool) -> lmdb.Environment:
    with contextlib.suppress(lmdb.InvalidError, lmdb.CorruptedError, lmdb.PanicError):
        env = _open(path, limit, durable=durable)
        if is_whole(env, path):
            return env
        env.close()
    path.unlink()
    return _open(path, limit, durable=durable)


def _open(path: Path, limit: int, *, durable: bool) -> lmdb.Environment:
    allocate_lock(path, _READERS, 0o600)
    return lmdb.open(
        str(path),
        map_size=limit,
        subdir=False,
        mode=0o600,
        sync=durable,
        metasync=durable,
        max_readers=_READERS,
    )


def _boot() -> str:
    """What tells this start of the machine from all others (random(4), boot_id)."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()[:8]


def _remove_others(folder: Path, kept: Path) -> None:
    # An older helper may have the file of the last epoch open. It can go on using it:
    # unlinking takes only the name away.
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        for name in os.listdir(fd):  # noqa: PTH208 (by descriptor)
            if ".mdb" in name and not name.startswith(kept.name):
                with contextlib.suppress(OSError):
                    os.unlink(name, dir_fd=fd)
    finally:
        os.close(fd)
