"""A Redis list as Logstash fills it: lines are taken so that none is lost in a crash.

A consumer moves lines from the shared list to a list of its own (LMOVE, redis.io
commands) and removes them there when their matches have been written. If a consumer dies,
the other consumers put the lines of its list back into the shared list. So each line is
matched at least once.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable
from typing import Any, Final

import redis

from inkgate.config.printable import Log
from inkgate.rules.match.input.chunks import no_acknowledgement

BATCH: Final = 1000
_BLOCK_SECONDS: Final = 0.5
# Heartbeats of a consumer within the time `orphaned_after`.
_HEARTBEATS: Final = 5

# Takes up to a batch of lines from the list, if this consumer is still a member.
_TAKE: Final = """
if redis.call('SISMEMBER', KEYS[3], ARGV[1]) == 0 then return -1 end
local taken = {}
for i = 1, tonumber(ARGV[2]) do
  local line = redis.call('LMOVE', KEYS[1], KEYS[2], 'LEFT', 'RIGHT')
  if not line then break end
  taken[i] = line
end
return taken
"""
# Removes lines that have been matched. A consumer that the others took for dead is no
# member any more, and its lines belong to others.
_REMOVE: Final = """
if redis.call('SISMEMBER', KEYS[2], ARGV[1]) == 0 then return 0 end
redis.call('LTRIM', KEYS[1], ARGV[2], -1)
return 1
"""
# Puts all lines of a consumer back into the shared list, in their order.
_PUT_BACK: Final = """
if ARGV[2] == 'dead' and redis.call('EXISTS', KEYS[4]) == 1 then return -1 end
local count = 0
while redis.call('LMOVE', KEYS[2], KEYS[1], 'RIGHT', 'LEFT') do count = count + 1 end
redis.call('SREM', KEYS[3], ARGV[1])
return count
"""


class RedisList:
    """One consumer of a list.

    Args:
        client: a connection whose answers are bytes.
        key: the list's.
        log: takes one line.
        orphaned_after: seconds without a heartbeat after which a consumer counts as dead.
    """

    def __init__(
        self,
        client: redis.Redis,
        key: str,
        log: Log,
        orphaned_after: float,
    ) -> None:
        self._alive_ms = int(orphaned_after * 1000)
        self._heartbeat_seconds = orphaned_after / _HEARTBEATS
        self._redis: Any = client
        self._key = key
        self._log = log
        self.name = f"{socket.gethostname()}-{os.getpid()}-{os.urandom(4).hex()}"
        self._consumers = f"{key}:inkgate:consumers"
        self._membership = 0
        self._is_outcome_unknown = False
        self._next_recovery = 0.0
        self._ended = threading.Event()
        self._take = client.register_script(_TAKE)
        self._remove = client.register_script(_REMOVE)
        self._put_back_script = client.register_script(_PUT_BACK)
        self._join()
        self._heartbeats = threading.Thread(target=self._send_heartbeats, name="heart", daemon=True)
        self._heartbeats.start()

    def take(self) -> tuple[list[bytes], Callable[[], None]]:
        """Some lines, and what to call when they are matched; no lines after a short wait."""
        if self._is_outcome_unknown:
            self._rejoin()
        self._recover()
        membership = self._membership
        taken = self._take(
            keys=(self._key, self._taken_key(self.name), self._consumers), args=(self.name, BATCH)
        )
        if taken == -1:
            # Other consumers took this process for dead, and have its lines.
            self._rejoin()
            return [], no_acknowledgement
        if not taken:
            self._wait()
            return [], no_acknowledgement
        return taken, lambda: self._finish(membership, len(taken))

    def others_hold_some(self) -> bool:
        """Whether other consumers have lines that are not matched yet: they may fail to."""
        names = (member.decode() for member in self._redis.smembers(self._consumers))
        return any(
            name != self.name and self._redis.exists(self._taken_key(name)) for name in names
        )

    def close(self) -> None:
        """Put back the lines that are not matched, and leave."""
        self._ended.set()
        self._heartbeats.join()
        with contextlib.suppress(redis.RedisError):
            self._put_back(self.name, "own")
            self._redis.delete(self._alive_key(self.name))

    def _wait(self) -> None:
        # Not BLMOVE: it would also move a line for a consumer that the others took for
        # dead, and no consumer looks into that one's list again.
        end = time.monotonic() + _BLOCK_SECONDS
        while time.monotonic() < end and not self._redis.exists(self._key):
            time.sleep(0.02)

    def _finish(self, membership: int, count: int) -> None:
        if membership != self._membership:
            return
        try:
            self._remove(
                keys=(self._taken_key(self.name), self._consumers), args=(self.name, count)
            )
        except redis.RedisError:
            # It is not known whether the lines were removed. All are put back and matched
            # again.
            self._is_outcome_unknown = True

    def _rejoin(self) -> None:
        self._put_back(self.name, "own")
        self._join()
        self._is_outcome_unknown = False

    def _join(self) -> None:
        self._membership += 1
        pipeline = self._redis.pipeline()
        pipeline.set(self._alive_key(self.name), 1, px=self._alive_ms)
        pipeline.sadd(self._consumers, self.name)
        pipeline.execute()

    def _send_heartbeats(self) -> None:
        while not self._ended.wait(self._heartbeat_seconds):
            with contextlib.suppress(redis.RedisError):
                self._redis.set(self._alive_key(self.name), 1, px=self._alive_ms)

    def _recover(self) -> None:
        now = time.monotonic()
        if now < self._next_recovery:
            return
        self._next_recovery = now + self._heartbeat_seconds
        for member in self._redis.smembers(self._consumers):
            name = member.decode()
            if name != self.name and not self._redis.exists(self._alive_key(name)):
                count = self._put_back(name, "dead")
                if count > 0:
                    self._log(f"{count:,} lines of a consumer that ended are taken again")

    def _put_back(self, name: str, why: str) -> int:
        keys = (self._key, self._taken_key(name), self._consumers, self._alive_key(name))
        return int(self._put_back_script(keys=keys, args=(name, why)))

    def _taken_key(self, name: str) -> str:
        return f"{self._key}:inkgate:taken:{name}"

    def _alive_key(self, name: str) -> str:
        return f"{self._key}:inkgate:alive:{name}"
