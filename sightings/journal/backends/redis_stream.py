"""A Redis stream between several proxies and their reporters.

A consumer group reads the entries. A reporter acknowledges an entry when it is in the
reporter's own journal, and an entry is removed when every group has acknowledged it. If a
reporter dies before that, its entries stay pending: it reads them again after a restart,
or another reporter takes them over.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import msgspec
import redis

from inkgate.config.secret import read_secret
from inkgate.sightings.journal.backends.backend import StoreAwayError, StoreRefusedError
from inkgate.sightings.journal.backends.relay import Copy
from inkgate.sightings.journal.sighting import Sighting
from inkgate.sightings.settings import RedisSettings

_FIRST: Final = "0-0"
_UNREADABLE_KEPT: Final = 10_000
_MAX_ENTRY_BYTES: Final = 1 << 20
_INSTALLATION: Final = re.compile("[0-9a-f]{32}")
_LATEST: Final = 253_402_300_800.0  # the year 10000
_VARIABLE: Final = "INKGATE_REDIS_PASSWORD"

# A consumer that has asked for nothing for so long is a host that is gone.
_GONE_SECONDS: Final = 86_400
_FORGET_GONE: Final = """
for _, fields in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
    local consumer = {}
    for at = 1, #fields, 2 do consumer[fields[at]] = fields[at + 1] end
    if consumer.name ~= ARGV[2] and consumer.pending == 0
            and consumer.idle >= tonumber(ARGV[3]) then
        redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], consumer.name)
    end
end
"""
_REPLICA: Final = "is a replica that takes nothing; name the master, or wait for the failover"
_CLUSTER: Final = "is a cluster, which is not supported; name one Redis"
_UNKNOWN: Final = re.compile("(?:ERR )?unknown command ['`]?([A-Za-z|]{1,30})", re.IGNORECASE)
_CODE: Final = re.compile("[A-Z]{2,20}")
_MEANINGS: Final = {
    "MISCONF": "cannot write to its disk (MISCONF); see its log",
    "NOREPLICAS": "has fewer replicas than min-replicas-to-write asks for",
    "MASTERDOWN": "is a replica whose master is away",
    "BUSY": "is busy with a script that somebody runs there",
}
_TOO_OLD: Final = "which it does not know, or has under another name; Redis 6.2 or newer has it"

T = TypeVar("T")


class Stream:
    """The stream of one Redis. Connects when it is used, and again after a failure.

    Args:
        url: `redis://host:port/db`, or `rediss://…` for TLS.
        settings: `[sightings.redis]`.
        folder: where relative paths of the settings begin.
        consumer: the reporter's name in the group; the same after a restart.

    Raises:
        Unreadable: the password cannot be read.
    """

    def __init__(self, url: str, settings: RedisSettings, folder: Path, consumer: str) -> None:
        self._settings = settings
        self._consumer = consumer
        self._pending_from: str | None = _FIRST
        more: dict[str, Any] = {}
        if settings.user or settings.password_file:
            file = folder / settings.password_file if settings.password_file else None
            more["password"] = read_secret(file, _VARIABLE, f"Redis at {urlsplit(url).hostname}")
        if settings.user:
            more["username"] = settings.user
        if settings.ca_file and url.startswith("rediss://"):
            more["ssl_ca_certs"] = str(folder / settings.ca_file)
        self._redis = redis.Redis.from_url(
            url,
            socket_timeout=settings.timeout,
            socket_connect_timeout=settings.timeout,
            client_name="inkgate-sightings",
            **more,
        )

    def close(self) -> None:
        """Close the connections."""
        self._redis.close()

    def server(self) -> str:
        """The running server's id: another one after a restart or a failover."""
        answer = self._call(lambda: self._redis.info("server"))
        return str(answer.get("run_id", ""))

    def mark(self, offered: str) -> str:
        """See `SharedStore`."""
        key = f"{self._settings.stream}:mark"

        def ask() -> bytes:
            with self._redis.pipeline(transaction=False) as pipe:
                pipe.set(key, offered, nx=True)
                pipe.get(key)
                return pipe.execute()[1] or b""

        try:
            return _text(self._call(ask))
        except StoreRefusedError:
            # A user of an older version's ACL: then nobody can tell.
            return ""

    def add(self, copies: Sequence[Copy]) -> None:
        """Append entries; on an exception some of them may be there."""
        encoder = msgspec.json.Encoder()

        def append() -> None:
            # No transaction is needed: an entry that is appended twice is recognised by its
            # origin.
            with self._redis.pipeline(transaction=False) as pipe:
                for origin, sighting in copies:
                    fields: dict[Any, Any] = {"origin": origin, "record": encoder.encode(sighting)}
                    pipe.xadd(self._settings.stream, fields)
                pipe.execute()

        self._call(append)

    def take(self, count: int) -> list[tuple[bytes, Copy | None]]:
        """Entries that this reporter has to journal, with their ids; None where unreadable.

        First the entries that it took before and has not acknowledged, then those that
        other reporters have not acknowledged for too long, then new ones.
        """
        entries = self._own_pending(count) or self._stale(count) or self._new(count)
        return [(name, _copy(fields)) for name, fields in entries]

    def acknowledge(self, names: Sequence[bytes]) -> None:
        """Entries are safe elsewhere: they are not delivered again, and may go."""
        key, group = self._settings.stream, self._settings.group
        self._call(lambda: self._redis.xack(key, group, *names))
        self._trim()

    def put_aside(self, names: Sequence[bytes]) -> None:
        """Copy unreadable entries to another key, to be looked at by an operator."""
        key = self._settings.stream

        def copy() -> None:
            for name in names:
                found: Any = self._redis.xrange(key, name, name)
                for _, fields in found:
                    self._redis.xadd(
                        f"{key}:unreadable", fields, maxlen=_UNREADABLE_KEPT, approximate=True
                    )

        self._call(copy)

    def installation(self, offered: str) -> str:
        """The id on which the reporters of this stream agree: the first that was offered.

        Raises:
            StoreAwayError, StoreRefusedError: it is not known.
        """
        key = f"{self._settings.stream}:installation"
        self._call(lambda: self._redis.set(key, offered, nx=True))
        agreed = _text(self._call(lambda: self._redis.get(key)) or b"")
        if not _INSTALLATION.fullmatch(agreed):
            raise StoreRefusedError(f"Redis has no installation id under {key}; delete that key")
        return agreed

    def _own_pending(self, count: int) -> list[Any]:
        if self._pending_from is None:
            return []
        entries = self._read(self._pending_from, count)
        self._pending_from = entries[-1][0] if entries else None
        # Entries that were removed in the meantime have no fields.
        return [entry for entry in entries if entry[1]] or (self._own_pending(count))

    def _stale(self, count: int) -> list[Any]:
        key, group = self._settings.stream, self._settings.group
        idle = int(self._settings.claim_seconds * 1000)
        answer = self._call(
            lambda: self._redis.xautoclaim(
                key, group, self._consumer, min_idle_time=idle, count=count
            )
        )
        return [entry for entry in answer[1] if entry[1]]

    def _new(self, count: int) -> list[Any]:
        return self._read(">", count)

    def _read(self, after: str, count: int) -> list[Any]:
        key, group = self._settings.stream, self._settings.group
        answer: Any = self._call(
            lambda: self._redis.xreadgroup(group, self._consumer, {key: after}, count=count)
        )
        streams = list(answer.values()) if isinstance(answer, dict) else [s[1] for s in answer]
        # With RESP3 the list of a stream's entries is inside one more list.
        return [entry for entries in streams for entry in _flat(entries)]

    def _trim(self) -> None:
        """Remove what every group has acknowledged."""
        key = self._settings.stream
        groups: Any = self._call(lambda: self._redis.xinfo_groups(key))
        if not groups:  # the group was removed; the next read creates it again
            return
        oldest = min(map(self._oldest_needed, groups))
        self._call(lambda: self._redis.xtrim(key, minid=_name(oldest), approximate=False))

    def _oldest_needed(self, group: dict[str, Any]) -> tuple[int, int]:
        if group["pending"]:
            key, name = self._settings.stream, group["name"]
            pending: Any = self._call(lambda: self._redis.xpending(key, name))
            if pending["min"]:
                return _number(pending["min"])
        time, sequence = _number(group["last-delivered-id"])
        return time, sequence + 1

    def _call(self, request: Callable[[], T]) -> T:
        try:
            return request()
        except (redis.AuthenticationError, redis.exceptions.AuthorizationError) as error:
            raise StoreRefusedError(f"Redis refuses the user ({type(error).__name__})") from None
        except redis.exceptions.NoPermissionError:
            raise StoreRefusedError(
                "Redis's ACL does not let this user do what is needed"
            ) from None
        except redis.ResponseError as error:
            if str(error).startswith("NOGROUP"):
                self._make_group()
                raise StoreAwayError("the consumer group was not there and has been made") from None
            raise _in_words(error, self._settings.stream) from None
        except redis.exceptions.BusyLoadingError:
            raise StoreAwayError("Redis is loading its data from the disk") from None
        except redis.RedisError as error:
            raise StoreAwayError(f"Redis does not answer ({type(error).__name__})") from None
        except OSError as error:
            raise StoreAwayError(f"Redis does not answer ({error.strerror})") from None

    def prepare(self) -> None:
        """Make the stream and the group if they are not there, and let hosts that are gone go."""
        key, group = self._settings.stream, self._settings.group
        groups: Any = self._call(lambda: self._redis.exists(key) and self._redis.xinfo_groups(key))
        if not any(_text(g["name"]) == group for g in groups or ()):
            self._make_group()
        self._forget_gone()

    def _forget_gone(self) -> None:
        """Remove consumers that are gone and have nothing that others could still take over."""
        key, group = self._settings.stream, self._settings.group
        with suppress(StoreRefusedError):  # the ACL of an older version
            # One step for Redis: a consumer that wakes up meanwhile would lose what it takes.
            self._call(
                lambda: self._redis.eval(
                    _FORGET_GONE, 1, key, group, self._consumer, str(1000 * _GONE_SECONDS)
                )
            )

    def _make_group(self) -> None:
        key, group = self._settings.stream, self._settings.group
        self._pending_from = _FIRST
        try:
            # A new group reads from the beginning: no reporter of it has seen these entries.
            self._redis.xgroup_create(key, group, id="0", mkstream=True)
        except redis.ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise StoreAwayError("the consumer group cannot be made") from None
        except redis.RedisError as error:
            raise StoreAwayError(f"Redis does not answer ({type(error).__name__})") from None


def _in_words(error: redis.ResponseError, stream: str) -> StoreAwayError | StoreRefusedError:
    """What an answer of Redis means. Its text is not told: it may quote what was sent."""
    # In a pipeline the library puts the command in front.
    text = str(error).rpartition("caused error: ")[2]
    if isinstance(error, (redis.exceptions.ClusterError, redis.exceptions.MovedError)):
        return StoreRefusedError(f"Redis {_CLUSTER}")
    if isinstance(error, redis.exceptions.OutOfMemoryError):
        return StoreAwayError(
            "Redis has no memory left; raise its maxmemory, or see why no reporter collects"
        )
    if isinstance(error, redis.exceptions.ReadOnlyError):
        return StoreAwayError(f"Redis {_REPLICA}")
    if unknown := _UNKNOWN.match(text):
        return StoreRefusedError(f"Redis is asked for {unknown[1]}, {_TOO_OLD}")
    code = text.partition(" ")[0]
    if code == "WRONGTYPE":
        return StoreRefusedError(
            f"Redis has something else than a stream under {stream}; name another key in "
            "[sightings.redis] stream"
        )
    meaning = _MEANINGS.get(code, f"answers {code if _CODE.fullmatch(code) else 'an error'}")
    return StoreAwayError(f"Redis {meaning}")


def _copy(fields: dict[bytes, bytes]) -> Copy | None:
    origin, record = fields.get(b"origin", b""), fields.get(b"record", b"")
    if not origin or len(origin) > 256 or len(record) > _MAX_ENTRY_BYTES:
        return None
    try:
        sighting = _DECODER.decode(record)
        return (origin.decode(), sighting) if 0 <= sighting.time < _LATEST else None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _flat(entries: Any) -> list[Any]:
    if len(entries) == 1 and isinstance(entries[0], list):
        return list(entries[0])
    return list(entries)


def _number(name: bytes | str) -> tuple[int, int]:
    time, _, sequence = _text(name).partition("-")
    return int(time), int(sequence or 0)


def _name(number: tuple[int, int]) -> str:
    return f"{number[0]}-{number[1]}"


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value


_DECODER: Final = msgspec.json.Decoder(Sighting)
