"""Incidents that wait to be journalled, in blocks."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from sightings.block import Block

if TYPE_CHECKING:
    from rules.matcher import Match

# More than come between two commits; nobody waits long for one that is written.
_FULL: Final = 1024


class Backlog:
    """First in, first out; the first ones go if there are too many. For many threads.

    Args:
        most: incidents that may wait; beyond that the oldest block goes.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._growing = Block()
        self._blocks: deque[Block] = deque()
        self._dropped = 0

    @property
    def has_full(self) -> bool:
        """Whether there is a block that takes no more."""
        return bool(self._blocks)

    def add(self, incident: str, client: str, method: str, matches: Sequence[Match]) -> None:
        """Take an incident of now; see `Block.add`.

        Raises:
            UnicodeEncodeError: UTF-8 cannot hold one of its texts; it was not taken.
        """
        with self._lock:
            block = self._growing
            block.add(time.time(), incident, client, method, matches)
            if block.incidents >= _FULL:
                self._close_block()

    def take(self) -> Block | None:
        """The oldest incidents, which wait no longer; None if there are none."""
        with self._lock:
            if not self._blocks:
                self._close_block()
            return self._blocks.popleft() if self._blocks else None

    def put_back(self, block: Block) -> None:
        """Let what `take` gave wait on, before all others."""
        with self._lock:
            self._blocks.appendleft(block)
            self._drop()

    def take_dropped(self) -> int:
        """How many have gone since this was last asked."""
        with self._lock:
            dropped, self._dropped = self._dropped, 0
            return dropped

    def _close_block(self) -> None:
        if self._growing.incidents:
            self._blocks.append(self._growing)
            self._growing = Block()
            self._drop()

    def _drop(self) -> None:
        while sum(block.incidents for block in self._blocks) > self._most:
            self._dropped += self._blocks.popleft().incidents
