"""Stretched values from the nearest place: memory, the shared key cache, the KDF."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Final

import lmdb

from inkgate.rules.crypto.derive import Unstretched
from inkgate.rules.crypto.key_cache import CutOffError, KeyCache
from inkgate.rules.lookup.recent import Recent
from inkgate.rules.lookup.steps import Stretch

_IN_ONE_WRITE: Final = 16
_SHORT_BYTES: Final = 64

Derived = tuple[str, bytes, bytes]
"""Kind, canonical value, stretched bytes."""


class CachedStretch:
    """A derivation with this process's memory and the key cache on disk before it.

    One object serves an epoch, over all of its generations and all threads. A value
    that several threads want at once is derived once. A key cache that fails is left
    out: it saves work, it decides nothing.

    Args:
        derive: the KDF.
        keys: the key cache, if there is one.
        limit: stretched values kept in memory.
        failed: told why, when the key cache fails, and whether its files are lost.
    """

    def __init__(
        self,
        derive: Stretch,
        keys: KeyCache | None,
        limit: int,
        failed: Callable[[lmdb.Error, bool], None],
    ) -> None:
        self.derive = derive
        self._keys = keys
        self._failed = failed
        self._recent: Recent[Unstretched, bytes] = Recent(limit)
        self._under_way: dict[Unstretched, Future[bytes]] = {}
        self._lock = threading.Lock()

    def __call__(self, kind: str, data: bytes) -> bytes:
        """The 32 stretched bytes of a canonical value; derived here if they must be."""
        stretched = self.cached(kind, data)
        return self._derive_once((kind, data)) if stretched is None else stretched

    def cached(self, kind: str, data: bytes) -> bytes | None:
        """The stretched bytes, if they are in memory or in the key cache; else None."""
        key = _memory_key(kind, data)
        stretched = self._recent.get(key)
        if stretched is None and (stretched := self._from_disk(kind, data)) is not None:
            self._recent.put(key, stretched)
        return stretched

    def remember(self, kind: str, data: bytes, stretched: bytes) -> None:
        """Keep a value in this process's memory."""
        self._recent.put(_memory_key(kind, data), stretched)

    def save(self, derived: list[Derived]) -> None:
        """Keep values in the key cache, in one transaction."""
        # Read once: another thread may leave it out, or attach another, at any moment.
        keys = self._keys
        if keys is not None and derived:
            try:
                keys.put_many(derived)
            except lmdb.Error as error:
                self._leave_out(keys, error)

    @property
    def has_disk(self) -> bool:
        """Whether a key cache is in use."""
        return self._keys is not None

    @property
    def is_disk_in_place(self) -> bool:
        """Whether the key cache's files, if one is in use, lie where they were opened."""
        keys = self._keys
        return keys is None or keys.is_in_place

    def leave_disk(self) -> None:
        """Let a key cache that is not in place any more be made anew by this process."""
        keys = self._keys
        if keys is not None:
            keys.leave()

    def attach(self, keys: KeyCache) -> None:
        """Use a key cache from now on."""
        self._keys = keys

    def _from_disk(self, kind: str, data: bytes) -> bytes | None:
        keys = self._keys
        if keys is None:
            return None
        try:
            return keys.get(kind, data)
        except lmdb.Error as error:
            self._leave_out(keys, error)
            return None

    def _leave_out(self, keys: KeyCache, error: lmdb.Error) -> None:
        if self._keys is keys:
            self._keys = None
        # What another process met first has lost its name, and no more is known of it.
        is_lost = isinstance(error, CutOffError) or not keys.is_in_place
        self._failed(error, is_lost)

    def _derive_once(self, value: Unstretched) -> bytes:
        with self._lock:
            other = self._under_way.get(value)
            if other is None:
                mine = self._under_way[value] = Future()
        if other is not None:
            return other.result()
        try:
            stretched = self.derive(*value)
            self.remember(*value, stretched)
            mine.set_result(stretched)
        except BaseException as error:
            mine.set_exception(error)
            raise
        finally:
            del self._under_way[value]
        self.save([(*value, stretched)])
        return stretched


def _memory_key(kind: str, data: bytes) -> Unstretched:
    """What a value is remembered under: itself, or a digest of it if it is long.

    Clients choose values, and would choose how much memory they take.
    """
    if len(data) <= _SHORT_BYTES:
        return kind, data
    # Longer than any short value, so that no value is remembered as another one.
    return kind, hashlib.blake2b(data).digest() + b"#"


class Unsaved:
    """Derived values on their way to the key cache, several to a transaction."""

    def __init__(self) -> None:
        self._waiting: dict[CachedStretch, list[Derived]] = {}

    def add(self, keys: CachedStretch, derived: Derived) -> None:
        """Take one; all are written as soon as an epoch has 16 of them."""
        waiting = self._waiting.setdefault(keys, [])
        waiting.append(derived)
        if len(waiting) >= _IN_ONE_WRITE:
            self.write()

    def write(self) -> None:
        """Write what waits."""
        for keys, derived in self._waiting.items():
            keys.save(derived)
        self._waiting.clear()
