"""Derivations shared by processes: each value is derived once, by one of them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import lmdb

from inkgate.config.locks import lock_byte, open_lock_file
from inkgate.rules.crypto.derive import Unstretched
from inkgate.rules.crypto.key_cache import KeyCache
from inkgate.rules.lookup.recent import Recent
from inkgate.rules.lookup.steps import Stretch

_LOCK_FILE: Final = "deriving.lock"
# The offset of a record lock is a signed 64-bit number (fcntl(2)).
_OFFSET_BITS: Final = 62


class SharedStretch:
    """Stretched values from memory, from the key cache, or derived; in that order.

    Processes with the same key cache folder share the work. A process that derives a
    value locks one byte of a file; the value's index in the key cache says which byte.
    Another process that needs the same value waits for this lock, and then finds the
    value in the key cache. When a process dies, the system releases its locks.

    Args:
        derive: the KDF.
        keys: the key cache.
        folder: where it lies.
        limit: values kept in this process's memory.

    Attributes:
        derived: how many were derived here.
    """

    def __init__(self, derive: Stretch, keys: KeyCache, folder: Path, limit: int) -> None:
        self.derived = 0
        self._derive = derive
        self._keys = keys
        self._recent: Recent[Unstretched, bytes] = Recent(limit)
        self._lock_file = open_lock_file(folder / _LOCK_FILE, 0o600)

    def __call__(self, kind: str, data: bytes) -> bytes:
        """The 32 stretched bytes of a canonical value."""
        value = (kind, data)
        stretched = self._recent.get(value)
        if stretched is None:
            stretched = self._saved(value) or self._derive_under_lock(value)
            self._recent.put(value, stretched)
        return stretched

    def close(self) -> None:
        """Let go of the files."""
        self._keys.close()
        os.close(self._lock_file)

    def _derive_under_lock(self, value: Unstretched) -> bytes:
        offset = int.from_bytes(self._keys.index(*value)[:8]) >> (64 - _OFFSET_BITS)
        with lock_byte(self._lock_file, offset):
            stretched = self._saved(value)
            if stretched is None:
                stretched = self._derive(*value)
                self.derived += 1
                self._save(value, stretched)
            return stretched

    def _saved(self, value: Unstretched) -> bytes | None:
        # The key cache only saves work. If it cannot be read, the value is derived.
        try:
            return self._keys.get(*value)
        except lmdb.Error:
            return None

    def _save(self, value: Unstretched, stretched: bytes) -> None:
        try:
            self._keys.put_many([(*value, stretched)])
        except lmdb.Error:
            return
