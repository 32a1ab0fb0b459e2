"""Stretched values from the nearest place: memory, the shared key cache, the KDF."""

from __future__ import annotations

import lmdb

from rules.keycache import KeyCache
from rules.live.recent import Recent
from rules.matcher import Stretch


class CachedStretch:
    """Wraps a derivation with this process's memory and the key cache on disk.

    A key cache that fails is left out: it saves work, it decides nothing.
    """

    def __init__(self, derive: Stretch, keys: KeyCache | None, limit: int) -> None:
        self._derive = derive
        self._keys = keys
        self._recent: Recent[tuple[str, bytes], bytes] = Recent(limit)

    def __call__(self, kind: str, data: bytes) -> bytes:
        """The 32 stretched bytes of a canonical value."""
        stretched = self._recent.get((kind, data))
        if stretched is None:
            stretched = self._from_disk(kind, data) or self._new(kind, data)
            self._recent.put((kind, data), stretched)
        return stretched

    def _from_disk(self, kind: str, data: bytes) -> bytes | None:
        if self._keys is None:
            return None
        try:
            return self._keys.get(kind, data)
        except lmdb.Error:
            self._keys = None
            return None

    def _new(self, kind: str, data: bytes) -> bytes:
        stretched = self._derive(kind, data)
        if self._keys is not None:
            try:
                self._keys.put_many([(kind, data, stretched)])
            except lmdb.Error:
                self._keys = None
        return stretched
