"""A Redis list as Logstash fills it: lines are taken so that none is lost in a crash.

Lines go from the list to one of this consumer's own (LMOVE, redis.io commands) and
are removed there when their matches have been told. Who dies leaves its list behind;
the others put it back (at least once, never lost).
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

from inkgate.rules.match.input.chunks import no_acknowledgement

BATCH: Final = 1000
_BLOCK_SECONDS: Final = 0.5
# So often within `orphaned_after` a consumer says that it is alive.
_HEARTBEATS: Final = 5

# Takes up to a batch from the list, if this consumer is one that is known to be alive.
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
# Removes what has been matched. A consumer that was given up owns nothing any more.
_REMOVE: Final = """
if redis.call('SISMEMBER', KEYS[2], ARGV[1]) == 0 then return 0 end
redis.call('LTRIM', KEYS[1], ARGV[2], -1)
return 1
"""
# Puts a consumer's lines back where they came from, in their order.
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
        orphaned_after: seconds after which a consumer that says nothing is dead.
    """

    def __init__(
        self,
        client: redis.Redis,
        key: str,
        log: Callable[[str], None],
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
        """Some lines, and what to call when they are done; none after a short wait."""
        if self._is_outcome_unknown:
            self._rejoin()
        self._recover()
        membership = self._membership
        taken = self._take(
            keys=(self._key, self._taken_key(self.name), self._consumers), args=(self.name, BATCH)
        )
        if taken == -1:
            # Others took this process for dead, and have its lines.
            self._rejoin()
            return [], no_acknowledgement
        if not taken:
            self._wait()
            return [], no_acknowledgement
        return taken, lambda: self._finish(membership, len(taken))

    def others_hold_some(self) -> bool:
        """Whether other consumers have lines that are not done: they may die."""
        names = (member.decode() for member in self._redis.smembers(self._consumers))
        return any(
            name != self.name and self._redis.exists(self._taken_key(name)) for name in names
        )

    def close(self) -> None:
        """Put back what is not done, and leave."""
        self._ended.set()
        self._heartbeats.join()
        with contextlib.suppress(redis.RedisError):
            self._put_back(self.name, "own")
            self._redis.delete(self._alive_key(self.name))

    def _wait(self) -> None:
        # Not BLMOVE: it would move a line also for a consumer that was given up, and nobody
        # looks for that one's lines any more.
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
            # Whether they were removed cannot be told: all is put back and done again.
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
