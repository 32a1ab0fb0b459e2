"""Incidents that wait to be journalled, in blocks."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

from inkgate.rules.crypto.message import CANARY
from inkgate.sightings.journal.block import Block, Rule

if TYPE_CHECKING:
    from inkgate.rules.lookup.matcher import Match


class Backlog:
    """First in, first out. If there are too many, the oldest are dropped. For many threads.

    Args:
        most: bytes that may wait; above that the oldest block is dropped.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._growing = Block()
        self._full: deque[Block] = deque()
        self._dropped = 0

    @property
    def has_full(self) -> bool:
        """Whether a full block waits."""
        return bool(self._full)

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits."""
        return not (self._full or self._growing.incidents)

    def add(self, incident: str, client: str, method: str, matches: Sequence[Match]) -> None:
        """Take an incident of now.

        Args:
            incident: the id on the blocked page.
            client: what is kept of the client's address.
            method: the request's method.
            matches: the rules that it matched.

        Raises:
            UnicodeEncodeError: UTF-8 cannot hold one of its texts; it was not taken.
        """
        # Only these parts of a rule's message are journalled; a message may have more.
        # Of a canary nothing is kept that could be reported, by an older version either. What
        # else the request matched counts: whoever sees a canary in a log could otherwise hide
        # a listed value behind it.
        rules: list[Rule] = [
            (name, CANARY, (), ()) if m.is_canary else (name, m.action, m.uuids(), m.event_ids())
            for name, m, _ in matches
        ]
        with self._lock:
            block = self._growing
            block.add(time.time(), incident, client, method, rules)
            if block.is_full:
                self._close_block()

    def take(self) -> Block | None:
        """Take the oldest block out of the backlog; None if there is none."""
        with self._lock:
            if not self._full:
                self._close_block()
            return self._full.popleft() if self._full else None

    def put_back(self, block: Block) -> None:
        """Put a block that `take` returned back, before all others."""
        with self._lock:
            self._full.appendleft(block)
            self._drop()

    def take_dropped(self) -> int:
        """How many incidents were dropped since the last call."""
        with self._lock:
            dropped, self._dropped = self._dropped, 0
            return dropped

    def _close_block(self) -> None:
        if self._growing.incidents:
            self._full.append(self._growing)
            self._growing = Block()
            self._drop()

    def _drop(self) -> None:
        while sum(block.size for block in self._full) > self._most:
            self._dropped += self._full.popleft().incidents
