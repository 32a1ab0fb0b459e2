"""Redis lists and streams: nothing is lost, whoever is killed. A real redis-server."""

from __future__ import annotations

import json
import random
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from inkgate.rules.match.input.queues import queued_chunks
from inkgate.rules.match.input.redis_list import RedisList
from inkgate.rules.match.input.redis_stream import RedisStream
from support.installation import BIN, Installation, attribute
from support.logs import access_line
from support.redis_server import RedisServer
from support.waiting import wait_until

pytestmark = pytest.mark.slow

KEY = "logstash"
ORPHANED = 1.5


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def listed(installation: Installation, server: RedisServer) -> Installation:
    server.client().flushall()
    installation.add("listed", attribute("domain", "listed.example"))
    installation.refresh()
    return installation


def event(number: int) -> str:
    return json.dumps({"message": access_line(f"http://listed.example/{number}", number=number)})


class Consumer:
    """A process that matches a queue and writes what it finds to a file."""

    def __init__(self, installation: Installation, server: RedisServer, *arguments: str) -> None:
        self.output = installation.folder / f"out-{random.getrandbits(64):x}.json"
        self.log = self.output.with_suffix(".log")
        with self.output.open("wb") as out, self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [
                    *(BIN / "inkgate-rules", "--config", installation.config),
                    *f"match --json --jobs 1 --redis {server.url}".split(),
                    *("--orphaned-after", str(ORPHANED), *arguments),
                ],
                stdout=out,
                stderr=log,
            )

    def seen(self) -> list[str]:
        """URLs of whole lines; the last one may have been cut by a kill."""
        lines = self.output.read_text().split("\n")[:-1]
        return [json.loads(line)["observed"] for line in lines]

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def end(self, sign: signal.Signals | None = None) -> str:
        if sign is not None:
            self.process.send_signal(sign)
        self.process.wait(timeout=120)
        return self.log.read_text()


def queue_lines(server: RedisServer, key: str, count: int) -> None:
    pipeline = server.client().pipeline(transaction=False)
    for start in range(0, count, 1000):
        lines = [event(n) for n in range(start, min(start + 1000, count))]
        if key == "stream":
            for line in lines:
                pipeline.xadd(key, {"message": line})
        else:
            pipeline.rpush(key, *lines)
    pipeline.execute()


def urls(count: int) -> set[str]:
    return {f"http://listed.example/{n}" for n in range(count)}


@pytest.mark.parametrize("option", ["--redis-list", "--redis-stream"])
def test_consumers_killed_at_random_lose_nothing(
    listed: Installation, server: RedisServer, option: str
) -> None:
    # More than six consumers can do before they are killed: the last one finds work.
    count = 40_000
    key = "stream" if option == "--redis-stream" else KEY
    queue_lines(server, key, count)
    seen: list[str] = []
    for _ in range(3):
        consumers = [Consumer(listed, server, option, key) for _ in range(2)]
        enough = random.randint(1, 400_000)
        wait_until(
            lambda consumers=consumers, enough=enough: (
                sum(c.output.stat().st_size for c in consumers) >= enough
            ),
            f"{enough} bytes of matches",
        )
        for consumer in consumers:
            consumer.kill()
            seen += consumer.seen()
    last = Consumer(listed, server, option, key, "--until-empty")
    errors = last.end()
    assert last.process.returncode == 0, errors
    assert "of a consumer that ended" in errors
    seen += last.seen()
    assert set(seen) == urls(count)
    assert len(seen) < 2 * count


@pytest.mark.parametrize("option", ["--redis-list", "--redis-stream"])
def test_sigterm_finishes_and_leaves_nothing_behind(
    listed: Installation, server: RedisServer, option: str
) -> None:
    key = "stream" if option == "--redis-stream" else KEY
    queue_lines(server, key, 2500)
    consumer = Consumer(listed, server, option, key)
    wait_until(lambda: len(consumer.seen()) == 2500, "2500 matches")
    consumer.end(signal.SIGTERM)
    assert consumer.process.returncode == 0
    client = server.client()
    if key == KEY:
        assert client.llen(KEY) == 0
        assert client.keys() in ([], [f"{KEY}:inkgate:consumers".encode()])
    else:
        assert client.xpending(key, "inkgate")["pending"] == 0
        assert client.xinfo_consumers(key, "inkgate") == []


def test_a_consumer_that_was_given_up_does_not_remove_what_others_match(
    server: RedisServer,
) -> None:
    server.client().flushall()
    server.client().rpush(KEY, *map(str, range(1500)))
    slow = RedisList(server.client(), KEY, print, 60.0)
    lines, done = slow.take()
    assert len(lines) == 1000
    # As after a long stop (SIGSTOP): the sign of life runs out.
    server.client().delete(f"{KEY}:inkgate:alive:{slow.name}")
    other = RedisList(server.client(), KEY, print, 60.0)
    again, other_done = other.take()
    assert again == lines
    done()
    rest, _ = slow.take()
    assert rest == []
    rest, rest_done = slow.take()
    assert rest == [str(n).encode() for n in range(1000, 1500)]
    other_done()
    rest_done()
    slow.close()
    other.close()
    assert server.client().llen(KEY) == 0


def test_lines_not_done_go_back_in_their_order(server: RedisServer) -> None:
    server.client().flushall()
    server.client().rpush(KEY, *map(str, range(1200)))
    consumer = RedisList(server.client(), KEY, print, 60.0)
    consumer.take()
    consumer.take()
    consumer.close()
    assert server.client().lrange(KEY, 0, -1) == [str(n).encode() for n in range(1200)]


def test_two_consumers_share_a_stream(server: RedisServer) -> None:
    server.client().flushall()
    for number in range(1500):
        server.client().xadd("s", {"message": str(number)})
    one = RedisStream(server.client(), "s", print, 60.0)
    two = RedisStream(server.client(), "s", print, 60.0)
    first, done = one.take()
    second, second_done = two.take()
    assert first + second == [str(n).encode() for n in range(1500)]
    done()
    assert two.others_hold_some()
    second_done()
    assert not two.others_hold_some()


def test_a_group_that_redis_lost_is_made_again(server: RedisServer) -> None:
    server.client().flushall()
    server.client().xadd("s", {"message": "1"})
    said: list[str] = []
    consumer = RedisStream(server.client(), "s", said.append, 60.0)
    lines, done = consumer.take()
    assert lines == [b"1"]
    done()
    # As after a start without the data of before.
    server.client().flushall()
    assert consumer.others_hold_some()
    assert consumer.take()[0] == []
    server.client().xadd("s", {"message": "2"})
    assert consumer.take()[0] == [b"2"]
    assert len(said) == 1
    assert "has lost the group inkgate" in said[0]
    # Somebody removed the group alone: nothing is lost, what was told is told again.
    server.client().xgroup_destroy("s", "inkgate")
    assert consumer.take()[0] == []
    assert consumer.take()[0] == [b"2"]
    consumer.close()


@pytest.mark.parametrize(
    ("option", "command"),
    [("--redis-list", "SET"), ("--redis-stream", "SET"), ("--redis-list", "XADD")],
)
def test_a_key_that_holds_something_else_ends_the_run(
    listed: Installation, server: RedisServer, option: str, command: str
) -> None:
    if command == "SET":
        server.client().set("other", "x")
    else:
        server.client().xadd("other", {"message": "x"})
    done = listed.run(
        "inkgate-rules", "match", "--redis", server.url, option, "other", "--until-empty"
    )
    assert done.returncode == 2
    assert "WRONGTYPE" in done.stderr
    assert "name a list with --redis-list" in done.stderr
    assert "Traceback" not in done.stderr


SQUID_LINE = access_line("http://www.listed.example/1")
COMMON_LINE = (
    '192.0.2.9 - - [14/Nov/2023:22:13:20 +0000] "GET http://listed.example/4 HTTP/1.1" 2 3'
)
MIXED: list[dict[str, str]] = [
    {"message": SQUID_LINE},
    {"url": "http://www.listed.example/2", "client": "10.9.0.1"},
    {"message": "nothing known"},
    {"line": COMMON_LINE},
    {"message": access_line("http://clean.example/"), "url": "http://listed.example/5"},
    {"event": SQUID_LINE, "a": "1", "b": "2", "c": "3"},
    {"message": ""},
    {"message": event(8)},
]


@pytest.mark.parametrize("jobs", ["1", "2"])
@pytest.mark.parametrize("option", ["--redis-list", "--redis-stream"])
def test_each_entry_tells_its_own_format(
    listed: Installation, server: RedisServer, option: str, jobs: str
) -> None:
    client = server.client()
    for entry in MIXED:
        if option == "--redis-stream":
            client.xadd("stream", entry)
        else:
            line, *more = entry.values()
            client.rpush("stream", json.dumps(entry) if more or "url" in entry else line)
    consumer = Consumer(listed, server, option, "stream", "--until-empty", "--jobs", jobs)
    errors = consumer.end()
    assert consumer.process.returncode == 0, errors
    hits = [json.loads(line) for line in consumer.output.read_text().splitlines()]
    assert [(hit["line"], hit["observed"].rpartition("/")[2]) for hit in hits] == [
        (1, "1"),
        (2, "2"),
        (4, "4"),
        (5, "5"),
        (6, "1"),
        (8, "8"),
    ]
    assert hits[1]["client"] == "10.9.0.1"
    assert "1 lines could not be read, the first is line 3" in errors
    if option == "--redis-stream":
        assert client.xpending("stream", "inkgate")["pending"] == 0
    else:
        assert client.llen("stream") == 0


class Batch:
    """A queue of one batch."""

    def __init__(self, lines: list[bytes]) -> None:
        self.batches = [lines]
        self.acknowledged = 0

    def take(self) -> tuple[list[bytes], Callable[[], None]]:
        return (self.batches.pop() if self.batches else []), self.acknowledge

    def acknowledge(self) -> None:
        self.acknowledged += 1

    def others_hold_some(self) -> bool:
        return False

    def close(self) -> None:
        pass


def test_a_batch_of_several_formats_is_acknowledged_by_its_last_chunk() -> None:
    lines = [SQUID_LINE, SQUID_LINE, event(1), "nothing known", SQUID_LINE]
    queue = Batch([line.encode() for line in lines])
    chunks = [
        chunk
        for chunk in queued_chunks(
            queue, "q", "auto", stop=lambda: False, until_empty=True, log=print
        )
        if chunk is not None
    ]
    assert [(chunk.first, chunk.format) for chunk in chunks] == [
        (1, "squid"),
        (3, "json"),
        (5, "squid"),
    ]
    for count, chunk in enumerate(chunks, 1):
        chunk.acknowledge()
        assert queue.acknowledged == (count == len(chunks))


def test_a_format_that_is_given_is_that_of_the_lines(
    listed: Installation, server: RedisServer
) -> None:
    server.client().xadd("s", {"message": "192.0.2.9 http://listed.example/1", "host": "a"})
    server.client().xadd("s", {"a": "1", "b": "2", "c": "3", "line": "192.0.2.9 http://x.example/"})
    consumer = Consumer(
        listed, server, "--redis-stream", "s", "--until-empty", "--format", "%>a %ru"
    )
    errors = consumer.end()
    assert consumer.seen() == ["http://listed.example/1"]
    assert "could not be read" not in errors


def test_entries_that_all_are_of_no_format_are_an_error_and_stay(
    listed: Installation, server: RedisServer
) -> None:
    server.client().xadd("s", {"message": "nothing known"})
    consumer = Consumer(listed, server, "--redis-stream", "s", "--until-empty")
    errors = consumer.end()
    assert (consumer.process.returncode, "is in no format known here" in errors) == (2, True)
    assert server.client().xpending("s", "inkgate")["pending"] == 1


def test_redis_away_is_waited_for(listed: Installation) -> None:
    with RedisServer() as server:
        consumer = Consumer(listed, server, "--redis-list", KEY)
        try:
            queue_lines(server, KEY, 100)
            wait_until(lambda: len(consumer.seen()) == 100, "100 matches")
            server.stop()
            server.stand_in(3)
            server.start()
            queue_lines(server, KEY, 100)
            wait_until(lambda: len(consumer.seen()) >= 200, "200 matches")
            errors = consumer.end(signal.SIGTERM)
        finally:
            consumer.process.kill()
        assert consumer.process.returncode == 0
        assert errors.count("waiting for it") == 1


def test_no_redis_and_password_in_url_are_errors(listed: Installation, tmp_path: Path) -> None:
    none = listed.run(
        "inkgate-rules", "match", "--redis", "redis://127.0.0.1:1", "--redis-list", KEY
    )
    assert none.returncode == 2
    assert "check --redis" in none.stderr
    secret = listed.run(
        "inkgate-rules", "match", "--redis", "redis://u:secret@127.0.0.1:1", "--redis-list", KEY
    )
    assert secret.returncode == 2
    assert "INKGATE_REDIS_PASSWORD" in secret.stderr
    assert "secret@" not in secret.stderr
