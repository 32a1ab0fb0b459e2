"""One client has many new names looked up over ICAP: what others wait for, and how long."""

from __future__ import annotations

import hashlib
import os
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from inkgate.health.monitor import Monitor
from inkgate.icap_server.connection import Connection
from inkgate.icap_server.lookups import Asker, Lookups
from inkgate.icap_server.server import InkgateServer
from inkgate.icap_server.settings import IcapSettings
from inkgate.rules.canonical import Host
from inkgate.rules.lookup.matcher import Matcher
from inkgate.rules.lookup.stretching import CachedStretch
from support.icap import (
    Answer,
    chunked,
    http_request,
    http_response,
    read_answer,
    reqmod,
    respmod,
)
from support.icap_worker import IcapWorker
from support.installation import Installation, attribute
from support.status import status

# A process or several for each test.
pytestmark = pytest.mark.slow

FLOODER, VICTIM = "127.0.0.9", "127.0.0.2"
AGENT = "EvilBot/1.0"
# A derivation that takes more than a second.
SLOW_TEXT = '{ algorithm = "pbkdf2", hash = "sha256", iterations = 5000000 }'
# One of some hundredths: answers are seen in their order, however quick the machine is.
SLOW_NAME = '{ algorithm = "pbkdf2", hash = "sha256", iterations = 100000 }'
CAPS = "[rules.caps]\npbkdf2_iterations = 5000000\n"

Start = Callable[..., tuple[Installation, IcapWorker]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts a worker with lines for `[icap]`; the set lists a few of everything."""
    made: list[tuple[Installation, IcapWorker]] = []

    def started(
        lines: str, *, name: str = '"test"', text: str = '"test"'
    ) -> tuple[Installation, IcapWorker]:
        installation = Installation()
        profiles = installation.config.read_text().replace('text = "test"', f"text = {text}")
        profiles = profiles.replace('name = "test"', f"name = {name}") + CAPS
        icap = f'[icap]\nworkers = 1\nfail = "closed"\n{lines}\n'
        installation.config.write_text(profiles + icap)
        installation.add(
            "listed",
            attribute("domain", "listed.example"),
            attribute("ip-dst", "198.51.100.0/24"),
            attribute("user-agent", AGENT),
        )
        installation.refresh()
        made.append((installation, IcapWorker(installation)))
        return made[-1]

    yield started
    for installation, worker in made:
        worker.close()
        installation.close()


def message(uri: str, client: str, agent: str = "") -> bytes:
    fields = {"User_Agent": agent} if agent else {}
    asked = reqmod(http_request(uri, **fields))
    return asked.replace(b"X-Client-IP: 192.0.2.7", b"X-Client-IP: " + client.encode())


def send(worker: IcapWorker, stack: ExitStack, asked: bytes) -> socket.socket:
    """A message on a connection of its own, whose answer is not waited for."""
    client = stack.enter_context(socket.create_connection(("127.0.0.1", worker.port), 60))
    client.sendall(asked)
    return client


def flood(worker: IcapWorker, stack: ExitStack, count: int, at: str) -> list[socket.socket]:
    """So many new names of the flooder; they wait before this returns."""
    clients = [send(worker, stack, message(f"http://{at}{n}.test/", FLOODER)) for n in range(count)]
    # A byte of each answer comes while it waits, and the whole of those that do not.
    for client in clients:
        client.recv(1, socket.MSG_PEEK)
    return clients


def is_blocked(answer: Answer) -> bool:
    return answer.status == 200 and answer.http_status == 403


def is_unable(answer: Answer) -> bool:
    return answer.status == 200 and answer.http_status == 503


def test_others_are_derived_for_in_their_turn(start: Start) -> None:
    _, worker = start("client_share = 0.25\ndeadline_seconds = 60", name=SLOW_NAME)
    with ExitStack() as stack:
        with worker.counts.held():
            clients = flood(worker, stack, 120, "new")
            clients.append(send(worker, stack, message("http://a.listed.example/", VICTIM)))
            clients[-1].recv(1, socket.MSG_PEEK)
        before: list[socket.socket] = []
        waiting = list(clients)
        while clients[-1] in waiting:
            for client in select.select(waiting, [], [], 60)[0]:
                # Answers of 204 are shorter than the page.
                if len(client.recv(24, socket.MSG_PEEK)) == 24:
                    waiting.remove(client)
                    before.append(client)
        # Behind those that were handed over before it came, and those of one turn: its name
        # costs two derivations. Some answers are on their way at the same time, more of them where
        # this test itself waits for a processor; without turns all 120 come first.
        assert len(before) < 90
        assert is_blocked(read_answer(clients[-1]))
        for client in clients[:-1]:
            assert read_answer(client).status == 204


def test_icap_deadline_passed(start: Start) -> None:
    installation, worker = start("deadline_seconds = 0.3")
    with worker.counts.held():
        began = time.monotonic()
        assert is_unable(worker.ask(message("http://new.test/", VICTIM)))
        assert 0.3 <= time.monotonic() - began < 5
    found = status(installation)
    assert (found.code, found.count("deadline-passed")) == (2, 1)
    assert found.rows["by-fail"]["data"]["by_fail"] == 1
    assert ": critical: deadline-passed: " in worker.close()


def test_icap_host_that_is_known_to_be_listed_is_answered_at_once(start: Start) -> None:
    """Whatever a new User-Agent costs, or the address in a listed network."""
    installation, worker = start("deadline_seconds = 30")
    assert is_blocked(worker.ask(message("http://listed.example/", VICTIM)))
    assert is_blocked(worker.ask(message("http://198.51.100.1/", VICTIM)))
    with worker.counts.held():
        began = time.monotonic()
        assert is_blocked(worker.ask(message("http://listed.example/x", VICTIM, "New/1")))
        assert is_blocked(worker.ask(message("http://198.51.100.2/", VICTIM)))
        assert time.monotonic() - began < 25
    assert status(installation).count("deadline-passed") == 0


def test_icap_what_was_found_by_the_deadline_counts(start: Start) -> None:
    """The host is found, and its User-Agent would take longer."""
    installation, worker = start("deadline_seconds = 0.8", text=SLOW_TEXT)
    found = worker.ask(message("http://listed.example/", VICTIM, AGENT))
    assert is_blocked(found)
    incident = found.fields["x-inkgate-incident"]
    assert [row["class"] for row in installation.sightings(incident)] == ["domain"]
    assert is_unable(worker.ask(message("http://fine.test/", VICTIM, "Another/1")))
    assert status(installation).count("deadline-passed") == 1


def test_icap_client_with_more_than_its_share_gives_way(start: Start) -> None:
    """20 connections for requests, of which 15 may wait."""
    installation, worker = start("connections = 88\nclient_share = 0.5\ndeadline_seconds = 60")
    with ExitStack() as stack:
        with worker.counts.held():
            clients = flood(worker, stack, 15, "new")
            # It alone may have all of them, and no more.
            assert is_unable(worker.ask(message("http://another.test/", FLOODER)))
            own = [
                send(worker, stack, message(f"http://own{n}.test/", f"127.0.1.{n}"))
                for n in range(10)
            ]
            for client in own:
                client.recv(1, socket.MSG_PEEK)
            # Down to its share; the others wait all the same.
            gave_way = [n for n in range(15) if is_long(clients[n])]
            assert len(gave_way) == 8
        answers = [read_answer(client) for client in clients]
        assert [n for n, answer in enumerate(answers) if is_unable(answer)] == gave_way
        assert {answers[n].status for n in range(15) if n not in gave_way} == {204}
        assert {read_answer(client).status for client in own} == {204}
    found = status(installation)
    assert (found.code, found.count("client-share-used-up")) == (1, 9)
    assert ": warning: client-share-used-up: " in worker.close()


def is_long(client: socket.socket) -> bool:
    """Whether more than the bytes against silence have come."""
    return len(client.recv(64, socket.MSG_PEEK)) == 64


def test_file_is_looked_at_though_its_servers_address_gets_no_verdict() -> None:
    """With `open` a client that kept the look-ups busy got every file by that."""
    body = b"listed " * 1000
    installation = Installation()
    try:
        text = installation.config.read_text().replace('ip = "test"', f"ip = {SLOW_TEXT}")
        icap = '[icap]\nworkers = 1\nfail = "open"\ndeadline_seconds = 0.2\n'
        installation.config.write_text(f"{text}{CAPS}{icap}")
        digest = hashlib.sha256(body).hexdigest()
        installation.add("listed", attribute("sha256", digest), attribute("ip-dst", "198.51.100.9"))
        installation.refresh()
        worker = IcapWorker(installation)
        try:
            asked = http_request("http://fine.example/file")
            said = http_response(len(body))
            message_ = respmod(asked, said, chunked(body), extra="X-Server-IP: 203.0.113.9 80\r\n")
            assert is_blocked(worker.ask(message_))
            found = status(installation)
            assert found.count("deadline-passed") == 1
            assert found.rows["by-fail"]["data"]["by_fail"] == 1
        finally:
            worker.close()
    finally:
        installation.close()


def looked_up_in() -> tuple[Installation, Matcher, CachedStretch]:
    installation = Installation()
    installation.add("listed", attribute("domain", "listed.example"))
    installation.refresh()
    matcher = installation.matcher()
    return installation, matcher, CachedStretch(matcher.stretch, None, 100, lambda *_: None)


def test_attack_values_are_delivered_at_the_priority_of_those_that_serve(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A thread of the lowest priority that has a lock keeps waiting whoever wants it."""
    installation, matcher, keys = looked_up_in()
    lookups = Lookups(IcapSettings(), Monitor(None, "inkgate-icap", print))
    priorities = []
    collect = lookups._collect

    def collected() -> None:
        priorities.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
        collect()

    monkeypatch.setattr(lookups, "_collect", collected)
    lookups.start()
    try:
        asker = Asker(VICTIM, "REQMOD", time.monotonic() + 60)
        steps = matcher.host_steps(Host("name", "listed.example"))
        lookups.finish(steps, matcher, keys, asker, [])
    finally:
        lookups.stop()
        installation.close()
    assert priorities
    assert max(priorities) == os.getpriority(os.PRIO_PROCESS, 0)


def test_delivery_that_fails_is_said_and_the_next_ones_come(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    installation, matcher, keys = looked_up_in()
    said: list[str] = []
    lookups = Lookups(IcapSettings(), Monitor(None, "inkgate-icap", said.append))
    collect = lookups._collect
    failures = iter([MemoryError(), MemoryError()])

    def collected() -> None:
        collect()
        for failure in failures:
            raise failure

    monkeypatch.setattr(lookups, "_collect", collected)
    lookups.start()
    try:
        for name in ("listed.example", "a.example", "b.example"):
            asker = Asker(VICTIM, "REQMOD", time.monotonic() + 60)
            lookups.finish(matcher.host_steps(Host("name", name)), matcher, keys, asker, [])
    finally:
        lookups.stop()
        installation.close()
    assert any("values cannot be delivered: MemoryError" in line for line in said)


def test_attack_late_connections_are_ended_a_few_at_a_time() -> None:
    """Hundreds that sent half a head were all ended before anybody else was served."""
    # Only the part of the loop that ends them: it has no service and no threads.
    server = InkgateServer.__new__(InkgateServer)
    server._poll = select.epoll()
    server._waiting = {}
    with ExitStack() as stack:
        made = []
        for _ in range(8):
            pair = [stack.enter_context(end) for end in socket.socketpair()]
            made.append(Connection(pair[0], VICTIM))
            server._waiting[pair[0].fileno()] = made[-1]
            server._poll.register(pair[0])
        server._late = list(made)
        # The first one has got something meanwhile, the second one was closed.
        made[0].deadline = time.monotonic() + 60
        server._close(made[1])
        left = []
        while server._late:
            server._end_late_ones()
            left.append(len(server._waiting))
        server._poll.close()
    assert left == [5, 1]
