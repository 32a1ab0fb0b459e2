"""The key cache: stretched values that this machine has derived before.

Shared by all helpers and ICAP workers, kept over restarts and refreshes of one epoch.
Entries are keyed by a per-installation HMAC, so the file does not name the
values. What a thief of this file and its key can do is in docs/threat-model.md.
"""

from __future__ import annotations

import contextlib
import hmac
import os
from pathlib import Path
from typing import Final

import lmdb

from inkgate.config.modes import make_folder
from inkgate.config.owner import refuse_other_owner
from inkgate.config.whole_file import create_once
from inkgate.rules.canonical.fields import length_prefixed
from inkgate.rules.crypto.lmdb_file import allocate_lock, is_whole
from inkgate.rules.crypto.profiles import STRETCHED_BYTES

INSTALLATION_KEY: Final = "installation.key"
_KEY_BYTES: Final = 32
_INDEX_BYTES: Final = 16
_CHECK_BYTES: Final = 8
_READERS: Final = 512


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
        _remove_others(folder, path)

    def index(self, kind: str, data: bytes) -> bytes:
        """The key under which a value lies."""
        return hmac.digest(self._key, length_prefixed(kind.encode(), data), "sha256")[:_INDEX_BYTES]

    def get(self, kind: str, data: bytes) -> bytes | None:
        """The stretched bytes of a value, or None."""
        index = self.index(kind, data)
        with self._env.begin() as txn:
            found: bytes | None = txn.get(index)
        if found is None or found[STRETCHED_BYTES:] != self._check(index, found[:STRETCHED_BYTES]):
            return None
        return found[:STRETCHED_BYTES]

    def put_many(self, entries: list[tuple[str, bytes, bytes]]) -> None:
        """Keep (kind, value, stretched) triples."""
        rows = [(self.index(kind, data), stretched) for kind, data, stretched in entries]
        rows = [(index, stretched + self._check(index, stretched)) for index, stretched in rows]
        try:
            self._put(rows)
        except lmdb.MapFullError:
            with self._env.begin(write=True) as txn:
                txn.drop(self._env.open_db(txn=txn), delete=False)
            with contextlib.suppress(lmdb.MapFullError):
                self._put(rows)

    def close(self) -> None:
        """Flush and close."""
        with contextlib.suppress(lmdb.Error):
            self._env.sync(True)
        self._env.close()

    def _check(self, index: bytes, stretched: bytes) -> bytes:
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
