"""The first reading of a large MISP feed, and the next ones, beside one event after the other.

A web server in another process answers each request after a delay, as one far away does. What
is measured is `Feed`: with its default number of connections, again with nothing new, and with
one event in a hundred changed. Beside it requests fetches some of the events over one kept
connection and reads their JSON, as programs do that take one event after the other. Prints a
table and writes bench/results/misp_feed.json.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import resource
import tempfile
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import requests

from harness.arguments import Arguments
from harness.machine import describe, save, table
from inkgate.rules.sources.last_good import LastGood
from inkgate.rules.sources.misp_feed import Feed, FeedSettings

_HOST: Final = "127.0.0.1"
_CHANGED: Final = 100  # one event of so many
Row = dict[str, Any]


class _Answers(asyncio.Protocol):
    """Answers one request after the other of a connection, each after the delay."""

    def __init__(self, answer: Callable[[str], bytes], delay: float) -> None:
        self._answer, self._delay = answer, delay
        self._data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._data += data
        while b"\r\n\r\n" in self._data:
            head, _, self._data = self._data.partition(b"\r\n\r\n")
            body = self._answer(head.split()[1].decode().rpartition("/")[2])
            reply = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
            loop = asyncio.get_running_loop()
            loop.call_later(self._delay, self._transport.write, reply)


def event_names(count: int) -> list[str]:
    return [str(uuid.UUID(int=(4 << 76) | (2 << 62) | number)) for number in range(count)]


def event(name: str, attributes: int) -> bytes:
    """An event whose values are its own."""
    found = [
        {
            "type": "domain",
            "value": f"{name[-12:]}-{number}.example",
            "uuid": str(uuid.uuid5(uuid.NAMESPACE_OID, f"{name} {number}")),
            "to_ids": True,
            "timestamp": "1767225600",
        }
        for number in range(attributes)
    ]
    made = {"uuid": name, "info": "made up", "date": "2026-01-01", "Attribute": found}
    return json.dumps({"Event": made}).encode()


def serve(port: Any, stamps: Any, options: argparse.Namespace) -> None:
    """Be the feed's web server.

    Args:
        port: where its port is put.
        stamps: the timestamp of the events that change.
        options: how many events, attributes and milliseconds.
    """
    names = event_names(options.events)

    def answer(name: str) -> bytes:
        if name != "manifest.json":
            return event(name.removesuffix(".json"), options.attributes)
        new = str(stamps.value)
        stamped = ((name, new if not at % _CHANGED else "1") for at, name in enumerate(names))
        return json.dumps({name: {"timestamp": stamp} for name, stamp in stamped}).encode()

    async def run() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(
            lambda: _Answers(answer, options.milliseconds / 1000), _HOST, 0
        )
        port.value = server.sockets[0].getsockname()[1]
        await server.serve_forever()

    with suppress(KeyboardInterrupt):
        asyncio.run(run())


def timed(name: str, events: int, read: Callable[[], int]) -> Row:
    """What one reading takes."""
    began, cpu = time.perf_counter(), time.process_time()
    attributes = read()
    seconds = time.perf_counter() - began
    return {
        "reader": name,
        "events": events,
        "seconds": seconds,
        "events_per_second": events / seconds,
        "processor_seconds": time.process_time() - cpu,
        "attributes": attributes,
        "memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def one_by_one(address: str, events: int) -> int:
    """The events' attributes, each asked for when the one before is there."""
    with requests.Session() as session:
        got = (session.get(f"{address}{name}.json", timeout=60) for name in event_names(events))
        return sum(len(one.json()["Event"]["Attribute"]) for one in got)


def main() -> None:
    parser = Arguments(__doc__, events=200, peer_events=20)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--peer-events", type=int, default=1_000, help="of those, one by one")
    parser.add_argument("--attributes", type=int, default=10, help="of an event")
    parser.add_argument("--milliseconds", type=float, default=40.0, help="until an answer comes")
    options = parser.read()
    machine = describe()
    processes = multiprocessing.get_context("fork")
    port, stamps = processes.Value("i", 0), processes.Value("i", 1)
    server = processes.Process(target=serve, args=(port, stamps, options), daemon=True)
    server.start()
    try:
        while not port.value:
            time.sleep(0.01)
        rows = measured(f"http://{_HOST}:{port.value}/feed/", stamps, options)
    finally:
        server.terminate()
        server.join()
    table(list(rows[0]), [list(row.values()) for row in rows])
    print(save("misp_feed", machine, options, rows=rows))


def measured(address: str, stamps: Any, options: argparse.Namespace) -> list[Row]:
    """All readings in turns.

    Raises:
        AssertionError: one did not read everything.
    """
    rows = [
        timed("one by one", options.peer_events, lambda: one_by_one(address, options.peer_events))
    ]
    with tempfile.TemporaryDirectory(prefix="inkgate-bench-") as name:
        folder = Path(name)
        settings = FeedSettings(address)
        feed = Feed(settings, folder, folder / "mirror", LastGood(folder / "copies"), seconds=86400)

        def read() -> int:
            faults: list[Any] = []
            attributes = sum(1 for _ in feed.read(faults))
            assert not faults, faults
            return attributes

        for reading in ("inkgate, first", "inkgate, nothing new", "inkgate, 1 % new"):
            stamps.value += reading.endswith("1 % new")
            rows.append(timed(reading, options.events, read))
    for row in rows:
        assert row["attributes"] == row["events"] * options.attributes, row
    return rows


if __name__ == "__main__":
    main()
