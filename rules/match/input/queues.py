"""Lines from a Redis, as chunks. If the Redis does not answer, it is tried again."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from itertools import accumulate, groupby, islice
from operator import itemgetter
from typing import Final, Protocol
from urllib.parse import urlsplit

import redis

from inkgate.config.printable import Log
from inkgate.rules.match.errors import MatchError
from inkgate.rules.match.input.chunks import Chunk, Chunker, no_acknowledgement
from inkgate.rules.match.input.files import Chunks, unreadable
from inkgate.rules.match.input.redis_list import RedisList
from inkgate.rules.match.input.redis_stream import RedisStream
from inkgate.rules.match.logs.entry import MAX_LINE
from inkgate.rules.match.logs.json_log import JSON
from inkgate.rules.match.logs.log_format import FormatError
from inkgate.rules.match.logs.registry import AUTO, guess

PASSWORD_VARIABLE: Final = "INKGATE_REDIS_PASSWORD"  # noqa: S105 (a name)
_RETRY_SECONDS: Final = 1.0
_TIMEOUT: Final = 10.0
# Answers of Redis that will be the same the next time: the key holds something else, this user
# may not, or this Redis is too old.
_LASTING: Final = ("WRONGTYPE", "unknown command", "Unknown Redis command")


class Queue(Protocol):
    """Where lines come from, a batch at a time."""

    def take(self) -> tuple[list[bytes], Callable[[], None]]:
        """Some lines, and what to call when they are matched; no lines after a short wait."""

    def others_hold_some(self) -> bool:
        """Whether other consumers have lines that are not matched yet: they may fail to."""

    def close(self) -> None:
        """Leave."""


def open_queue(
    url: str,
    key: str,
    format: str,  # noqa: A002
    *,
    stream: bool,
    orphaned_after: float,
    log: Log,
) -> Queue:
    """A consumer of a Redis list or stream.

    Args:
        url: the Redis's.
        key: of the list or stream.
        format: of the lines. If it is given, only the line of a stream's entry counts.
        stream: whether it is a stream.
        orphaned_after: seconds after which a silent consumer's lines are taken again.
        log: takes one line.

    Raises:
        MatchError: Redis is not there, or the URL holds a password.
    """
    client = connect(url)
    try:
        if stream:
            lines_only = format not in (AUTO, JSON.name)
            return RedisStream(client, key, log, orphaned_after, lines_only=lines_only)
        return RedisList(client, key, log, orphaned_after)
    except redis.RedisError as error:
        if _is_lasting(error):
            raise _refused(key, error) from None
        raise MatchError(f"{url}: {_short(error)}; check --redis, and that it runs") from None


def connect(url: str) -> redis.Redis:
    """A connection to a Redis; made at its first use.

    Raises:
        MatchError: the URL cannot be used.
    """
    try:
        held = urlsplit(url).password
    except ValueError:
        held = None
    if held:
        raise MatchError(
            "--redis: a URL with a password shows in the process list; put the password into "
            f"the environment variable {PASSWORD_VARIABLE}"
        )
    password = os.environ.get(PASSWORD_VARIABLE)
    more = {"password": password} if password else {}
    try:
        return redis.Redis.from_url(url, socket_timeout=_TIMEOUT, **more)
    except ValueError as error:
        raise MatchError(f"--redis: {error}; for instance redis://127.0.0.1:6379/0") from None


def queued_chunks(
    queue: Queue,
    source: str,
    format: str,  # noqa: A002
    *,
    stop: Callable[[], bool],
    until_empty: bool,
    log: Log,
) -> Chunks:
    """Lines as they come, until `stop` returns True, or until there are none.

    Raises:
        MatchError: the format of the lines is not recognised.
    """
    chunker = Chunker(source, format)
    away = False
    while not stop():
        try:
            lines, acknowledge = queue.take()
            if not lines and until_empty and not queue.others_hold_some():
                return
        except redis.RedisError as error:
            if _is_lasting(error):
                raise _refused(source, error) from None
            if not away:
                log(f"{source}: {_short(error)}; waiting for it")
            away = True
            yield None
            time.sleep(_RETRY_SECONDS)
            continue
        away = False
        if not lines:
            yield None
            continue
        # An entry of a queue is one line, also if it contains newlines.
        lines = [line.strip().replace(b"\n", b" ") for line in lines]
        try:
            yield from _chunks(chunker, lines, format, acknowledge)
        except FormatError as error:
            raise unreadable(source, error) from None


def _chunks(
    chunker: Chunker,
    lines: list[bytes],
    format: str,  # noqa: A002
    acknowledge: Callable[[], None],
) -> Iterator[Chunk]:
    """Chunks of entries that follow each other and are of one format; the last acknowledges."""
    runs = list(_runs(lines, chunker.format)) if format == AUTO else [(format, lines)]
    for number, (name, run) in enumerate(runs, 1):
        chunker.format = name
        done = acknowledge if number == len(runs) else no_acknowledgement
        yield chunker.chunk(b"\n".join(run), len(run), done)


def _runs(lines: list[bytes], before: str) -> Iterator[tuple[str, list[bytes]]]:
    """The formats of entries, which may come from several logs.

    An entry that shows no format is taken for one of the format of the entry before it.

    Args:
        before: the format of the last entry before these; `AUTO` if there was none.
    """
    shown = [guess([line[:MAX_LINE].decode("utf-8", "surrogateescape")]) for line in lines]
    if before == AUTO:
        before = next(filter(None, shown), AUTO)
    names = accumulate(shown, lambda last, name: name or last, initial=before)
    for name, run in groupby(zip(islice(names, 1, None), lines, strict=True), itemgetter(0)):
        yield name, [line for _, line in run]


def _is_lasting(error: redis.RedisError) -> bool:
    return isinstance(error, redis.exceptions.NoPermissionError) or (
        isinstance(error, redis.ResponseError) and any(word in str(error) for word in _LASTING)
    )


def _refused(key: str, error: redis.RedisError) -> MatchError:
    return MatchError(
        f"{key}: {_short(error)}; name a list with --redis-list, a stream with --redis-stream, "
        "of a Redis from 6.2 on whose user may use it"
    )


def _short(error: redis.RedisError) -> str:
    return f"{type(error).__name__}: {error}"[:200]
