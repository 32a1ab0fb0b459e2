"""Bounded memory of what was seen lately, with the cost of a set on a hit."""

from __future__ import annotations

from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Recent(Generic[K, V]):
    """A mapping that forgets what was not used lately.

    There are two dictionaries. New entries go to `young`. When it is full it becomes
    `old`, and the entries of the former `old` are forgotten; what is found in `old` goes
    to `young` again. So there are never more than `limit` entries, a hit changes no list,
    and threads need no lock.
    """

    __slots__ = ("_half", "old", "young")

    def __init__(self, limit: int) -> None:
        self._half = max(1, limit // 2)
        self.young: dict[K, V] = {}
        self.old: dict[K, V] = {}

    def get(self, key: K) -> V | None:
        """The value, or None."""
        value = self.young.get(key)
        if value is None:
            value = self.old.get(key)
            if value is not None:
                self.put(key, value)
        return value

    def put(self, key: K, value: V) -> None:
        """Remember a value, which must not be None."""
        if len(self.young) >= self._half:
            self.old, self.young = self.young, {}
        self.young[key] = value

    def __len__(self) -> int:
        return len(self.young) + len(self.old)
