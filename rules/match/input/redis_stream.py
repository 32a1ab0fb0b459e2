"""A Redis stream with a consumer group. Matched entries are acknowledged."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Callable
from typing import Any, Final

import msgspec
import redis

from inkgate.config.printable import Log
from inkgate.rules.match.input.chunks import no_acknowledgement

BATCH: Final = 1000
GROUP: Final = "inkgate"
_BLOCK_MS: Final = 500
_CLAIM_SECONDS: Final = 5.0
# What Redis says when the group, or the stream with it, is gone: it was restarted without its
# data, or somebody removed it.
_GROUP_LOST: Final = ("NOGROUP", "UNBLOCKED")
# Fields that hold a whole line of another log.
_LINES: Final = (b"message", b"line", b"event")

_Entry = tuple[bytes, dict[bytes, bytes] | None]


class RedisStream:
    """One consumer of a group, which is made if need be and begins with the oldest entry.

    Args:
        client: a connection whose answers are bytes.
        key: the stream's.
        log: takes one line.
        orphaned_after: seconds after which an entry is taken over from another consumer that
            has not acknowledged it.
        group: the consumer group.
        lines_only: see `line_of`.
    """

    def __init__(
        self,
        client: redis.Redis,
        key: str,
        log: Log,
        orphaned_after: float,
        group: str = GROUP,
        *,
        lines_only: bool = False,
    ) -> None:
        self._redis: Any = client
        self._key = key
        self._log = log
        self._group = group
        self._lines_only = lines_only
        self._claim_ms = int(orphaned_after * 1000)
        self._next_claim = 0.0
        self.name = f"{socket.gethostname()}-{os.getpid()}-{os.urandom(4).hex()}"
        self._make_group()

    def take(self) -> tuple[list[bytes], Callable[[], None]]:
        """Some lines, and what to call when they are matched; no lines after a short wait."""
        try:
            entries = self._claimed() or self._new()
        except redis.ResponseError as error:
            if not str(error).startswith(_GROUP_LOST):
                raise
            self._log(f"{self._key}: Redis has lost the group {self._group}; it is made again")
            self._make_group()
            return [], no_acknowledgement
        if not entries:
            return [], no_acknowledgement
        ids = [name for name, _ in entries]
        # Entries that were deleted while they were pending have no fields.
        lines = [line_of(fields, lines_only=self._lines_only) for _, fields in entries if fields]
        if not lines:
            self._acknowledge(ids)
            return [], no_acknowledgement
        return lines, lambda: self._acknowledge(ids)

    def others_hold_some(self) -> bool:
        """Whether other consumers have entries that are not matched yet: they may fail to."""
        try:
            return bool(self._redis.xpending(self._key, self._group)["pending"])
        except redis.ResponseError as error:
            if not str(error).startswith(_GROUP_LOST):
                raise
            # The next `take` makes the group again.
            return True

    def close(self) -> None:
        """Leave the group, unless entries are still pending: the others must claim them first."""
        with contextlib.suppress(redis.RedisError):
            consumers = self._redis.xinfo_consumers(self._key, self._group)
            mine = [c for c in consumers if c["name"] == self.name.encode()]
            if mine and mine[0]["pending"] == 0:
                self._redis.xgroup_delconsumer(self._key, self._group, self.name)

    def _make_group(self) -> None:
        # From the oldest entry on: what was told already is told again, but nothing is lost.
        try:
            self._redis.xgroup_create(self._key, self._group, id="0", mkstream=True)
        except redis.ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise

    def _new(self) -> list[_Entry]:
        answer = self._redis.xreadgroup(
            self._group, self.name, {self._key: ">"}, count=BATCH, block=_BLOCK_MS
        )
        return answer[0][1] if answer else []

    def _claimed(self) -> list[_Entry]:
        now = time.monotonic()
        if now < self._next_claim:
            return []
        answer = self._redis.xautoclaim(
            self._key, self._group, self.name, self._claim_ms, "0-0", count=BATCH
        )
        entries: list[_Entry] = answer[1]
        if entries:
            # There may be more. The next call asks at once.
            self._log(f"{len(entries):,} entries of a consumer that ended are taken over")
        else:
            self._next_claim = now + min(_CLAIM_SECONDS, self._claim_ms / 1000)
        return entries

    def _acknowledge(self, ids: list[bytes]) -> None:
        # Entries that cannot be acknowledged now stay pending, and are claimed and matched
        # again later.
        with contextlib.suppress(redis.RedisError):
            self._redis.xack(self._key, self._group, *ids)


def line_of(fields: dict[bytes, bytes], *, lines_only: bool = False) -> bytes:
    """An entry as a line: the line that it holds, or its fields as JSON.

    Args:
        fields: the entry's.
        lines_only: whether the line is all that counts, if there is one. Otherwise fields
            beside it are kept; a JSON log's reader looks both up.
    """
    if lines_only or len(fields) == 1:
        for name in _LINES:
            if name in fields:
                return fields[name]
    text = {_text(name): _text(value) for name, value in fields.items()}
    return msgspec.json.encode(text)


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")
