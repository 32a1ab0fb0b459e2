"""Derivations that many processes need, each made by one of them."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Final

import lmdb

from inkgate.rules.crypto.key_cache import KeyCache
from inkgate.rules.lookup.recent import Recent
from inkgate.rules.lookup.steps import Stretch, Value

_LOCK_FILE: Final = "deriving.lock"
# Offsets of record locks are signed 64-bit numbers (fcntl(2)).
_OFFSET_BITS: Final = 62


class SharedStretch:
    """Stretched values from memory, from the key cache, or derived; in that order.

    Processes that share a key cache folder share its work: who derives a value holds a
    lock on the byte of a file that the value's index names, and whoever wants the same
    value waits there and then finds it. The system lets go of a dead process's locks.

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
        self._recent: Recent[Value, bytes] = Recent(limit)
        self._lock_file = os.open(folder / _LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

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

    def _derive_under_lock(self, value: Value) -> bytes:
        offset = int.from_bytes(self._keys.index(*value)[:8]) >> (64 - _OFFSET_BITS)
        fcntl.lockf(self._lock_file, fcntl.LOCK_EX, 1, offset)
        try:
            stretched = self._saved(value)
            if stretched is None:
                stretched = self._derive(*value)
                self.derived += 1
                self._save(value, stretched)
            return stretched
        finally:
            fcntl.lockf(self._lock_file, fcntl.LOCK_UN, 1, offset)

    def _saved(self, value: Value) -> bytes | None:
        # The cache saves work and decides nothing: without it the value is derived.
        try:
            return self._keys.get(*value)
        except lmdb.Error:
            return None

    def _save(self, value: Value, stretched: bytes) -> None:
        try:
            self._keys.put_many([(*value, stretched)])
        except lmdb.Error:
            return
