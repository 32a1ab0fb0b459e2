"""What happens when: faults of the ICAP server, each with its answer, log line, counter and row.

docs/what-happens-when.md has the same as a table, and `test_table` holds both together.
"""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from inkgate.icap_server.processes.waiting_settings import PROXYS_KEYS
from inkgate.rules.settings import RulesSettings
from inkgate.sightings.settings import SightingsSettings
from support.helper_faults import set_key
from support.icap import (
    Answer,
    Icap,
    chunked,
    http_request,
    http_response,
    occupy,
    options,
    reqmod,
    respmod,
)
from support.icap_worker import IcapWorker
from support.installation import Installation, attribute
from support.pages import ROOT
from support.status import status, wait_for_now
from support.waiting import wait_until

# A process or several for each test.
pytestmark = pytest.mark.slow

LISTED = reqmod(http_request("http://listed.example/"))
DAY = 86_400

Start = Callable[..., Icap]


@pytest.fixture
def listed(installation: Installation) -> Installation:
    """One that lists `listed.example`."""
    installation.add("listed", attribute("domain", "listed.example"))
    installation.refresh()
    return installation


@pytest.fixture
def start(listed: Installation) -> Iterator[Start]:
    """Starts servers, and ends them after the test."""
    with ExitStack() as stack:

        def started(settings: str = "", workers: int = 1) -> Icap:
            server = Icap(listed, settings, workers)
            stack.callback(server.close)
            return server

        yield started


def is_blocked(answer: Answer) -> bool:
    return answer.status == 200 and answer.http_status == 403


def is_unable(answer: Answer) -> bool:
    return answer.status == 200 and answer.http_status == 503


def test_icap_without_rules(listed: Installation, start: Start) -> None:
    (listed.places.installed / "current").unlink()
    server = start('fail = "closed"\n')
    assert is_unable(server.ask(LISTED))
    found = status(listed)
    assert (found.code, found.level("no-rules"), found.level("icap")) == (2, 2, 2)
    assert found.rows["by-fail"]["data"]["by_fail"] == 1
    listed.refresh()
    wait_until(lambda: is_blocked(server.ask(LISTED)), "the listed request to be blocked")
    assert status(listed).level("no-rules") == 0
    assert ": critical: no-rules: " in server.log
    assert ": recovered: no-rules: serial 1" in server.log
    assert all(_is_dated(line) for line in server.log.splitlines())


def _is_dated(line: str) -> bool:
    time.strptime(line.split(" ", 1)[0], "%Y-%m-%dT%H:%M:%S%z")
    return line.split(" ", 2)[1].startswith("inkgate-icap[")


def test_icap_with_rules_past_their_expiry(listed: Installation, start: Start) -> None:
    path = listed.places.installed / "current" / "manifest.json"
    expired = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - DAY))
    path.write_text(json.dumps(json.loads(path.read_text()) | {"expires": expired}))
    text = listed.config.read_text()
    listed.config.write_text(text.replace("[rules]\n", '[rules]\nafter_expiry = "fail"\n'))
    server = start('fail = "closed"\n')
    assert is_unable(server.ask(LISTED))
    found = status(listed)
    assert (found.code, found.level("rules-expired")) == (2, 2)
    assert ": critical: rules-expired: serial 1 expired" in server.log


def test_icap_worker_that_did_not_run(listed: Installation, start: Start) -> None:
    server = start()
    (worker,) = server.workers()
    os.kill(worker, signal.SIGSTOP)
    time.sleep(2)  # the time itself is what is tested
    os.kill(worker, signal.SIGCONT)
    assert is_blocked(server.ask(LISTED))
    found = wait_until(lambda: (s := status(listed)).count("worker-stalled") and s, "its row")
    assert found.level("worker-stalled") == 2
    assert ": critical: worker-stalled: it did not run for " in server.log


def test_icap_worker_that_is_killed(listed: Installation, start: Start) -> None:
    server = start()
    (worker,) = server.workers()
    os.kill(worker, signal.SIGKILL)
    wait_until(lambda: server.workers() not in ([], [worker]), "another worker")
    assert is_blocked(wait_until(lambda: _asked(server), "an answer of the other worker"))
    found = wait_until(
        lambda: (s := status(listed)).count("process-died") and s, "the dead worker's row"
    )
    assert (found.code, found.count("process-died")) == (2, 1)
    assert f": critical: process-died: inkgate-icap[{worker}]" in server.log


def _asked(server: Icap) -> Answer | None:
    try:
        return server.ask(LISTED)
    except OSError:
        return None


def test_icap_with_all_connections_in_use(listed: Installation, start: Start) -> None:
    server = start("connections = 2\n")
    with ExitStack() as stack:
        occupy(server, stack)
        occupy(server, stack)
        assert server.ask(options("reqmod")).status == 503
    found = status(listed)
    assert (found.code, found.count("connections-used-up")) == (2, 1)
    assert ": critical: connections-used-up: all 2 are in use" in server.log


def test_icap_with_too_few_descriptors(listed: Installation, start: Start) -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (100, before[1]))
    try:
        server = start("connections = 1000\n")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (100, 100))
    server.process.send_signal(signal.SIGHUP)
    found = wait_for_now(listed, "connections-limited")
    assert (found.code, found.level("connections-limited")) == (1, 1)
    assert ": warning: connections-limited: open files are limited to 100" in server.log


def test_icap_without_descriptors(listed: Installation, start: Start) -> None:
    server = start()
    (worker,) = server.workers()
    before = resource.prlimit(worker, resource.RLIMIT_NOFILE)
    used = len(list(Path(f"/proc/{worker}/fd").iterdir()))
    resource.prlimit(worker, resource.RLIMIT_NOFILE, (used + 3, before[1]))
    with ExitStack() as stack:
        for _ in range(10):
            stack.enter_context(server.connect())
        found = wait_until(
            lambda: (s := status(listed)).count("connections-used-up") and s, "the row"
        )
        assert found.code == 2
    assert ": critical: connections-used-up: no file descriptor is left" in server.log
    resource.prlimit(worker, resource.RLIMIT_NOFILE, before)
    assert is_blocked(server.ask(LISTED))


def test_icap_worker_that_cannot_be_started_again(listed: Installation, start: Start) -> None:
    server = start()
    (worker,) = server.workers()
    pid = server.process.pid
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, before[1]))
    os.kill(worker, signal.SIGKILL)
    found = wait_for_now(listed, "worker-not-started")
    assert (found.code, found.level("worker-not-started")) == (2, 2)
    # Nor does SIGHUP end it.
    server.process.send_signal(signal.SIGHUP)
    wait_for_now(listed, "settings-not-taken")
    resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
    wait_until(server.workers, "another worker")
    assert is_blocked(wait_until(lambda: _asked(server), "an answer of the other worker"))
    wait_for_now(listed, "worker-not-started", lasts=False)
    assert ": critical: worker-not-started: worker " in server.log
    assert ": recovered: worker-not-started: " in server.log


def test_icap_peer_that_is_not_allowed(listed: Installation, start: Start) -> None:
    server = start()
    text = listed.config.read_text()
    listed.config.write_text(text + 'allow = ["192.0.2.0/24"]\n')
    server.process.send_signal(signal.SIGHUP)
    # While workers are exchanged nobody answers either.
    wait_until(
        lambda: _asked(server) is None and "peer-refused" in status(listed).rows,
        "connections to be refused",
    )
    found = status(listed)
    assert (found.code, found.level("peer-refused")) == (1, 1)
    assert ": warning: peer-refused: 127.0.0.1 is not among" in server.log


@pytest.mark.parametrize("line", ["misspelt = 1", 'template = "missing.html"', "[xyzzy]"])
def test_icap_settings_that_cannot_be_taken(listed: Installation, start: Start, line: str) -> None:
    server = start()
    sound = listed.config.read_text()
    listed.config.write_text(sound.replace("[squid_conf]\n", f"[squid_conf]\n{line}\n"))
    server.process.send_signal(signal.SIGHUP)
    found = wait_for_now(listed, "settings-not-taken")
    assert found.level("settings-not-taken") == 1
    assert is_blocked(server.ask(LISTED))
    listed.config.write_text(sound)
    server.process.send_signal(signal.SIGHUP)
    wait_for_now(listed, "settings-not-taken", lasts=False)
    assert ": recovered: settings-not-taken: " in server.log


def test_icap_settings_that_wait_for_sighup_are_said(listed: Installation, start: Start) -> None:
    template = listed.folder / "page.html"
    template.write_text("<html>{{ kind }} {{ incident }} {{ address }} {{ time }}</html>")
    set_key(listed, "squid_conf", 'template = "page.html"')
    server = start()
    assert is_blocked(server.ask(LISTED))
    # A publisher's keys are none that ICAP takes.
    listed.configure('sources = ["events", "others"]')
    set_key(listed, "sightings", 'clients = "truncate"')
    found = wait_for_now(listed, "settings-waiting")
    assert (found.code, found.level("settings-waiting")) == (1, 1)
    assert "[sightings] of " in found.rows["settings-waiting"]["text"]
    assert "[rules]" not in found.rows["settings-waiting"]["text"]
    server.process.send_signal(signal.SIGHUP)
    wait_for_now(listed, "settings-waiting", lasts=False)
    template.write_text("<html>{{ kind }} {{ incident }} {{ address }} {{ time }}.</html>")
    wait_for_now(listed, "settings-waiting")
    server.process.send_signal(signal.SIGHUP)
    wait_for_now(listed, "settings-waiting", lasts=False)
    set_key(listed, "rules", "misspelt = 1")
    wait_for_now(listed, "settings-waiting")
    log = server.log
    assert f": warning: settings-waiting: [sightings] of {listed.config}: changed since" in log
    assert f": warning: settings-waiting: {template}: changed since" in log
    assert ": warning: settings-waiting: they cannot be used: " in log
    assert ": recovered: settings-waiting: " in log


def test_addresses_that_sighup_does_not_take_are_said(listed: Installation, start: Start) -> None:
    server = start()
    assert "settings-waiting" not in status(listed).rows
    sound = listed.config.read_text()
    listed.config.write_text(re.sub('(?m)^listen = ".*"', 'listen = "127.0.0.1:1"', sound))
    wait_for_now(listed, "settings-waiting")
    server.process.send_signal(signal.SIGHUP)
    wait_until(
        lambda: f"{listed.config}; listen and tls_listen need a restart" in server.log, "that line"
    )
    assert status(listed).is_now("settings-waiting")
    assert is_blocked(server.ask(LISTED))
    listed.config.write_text(sound)
    wait_for_now(listed, "settings-waiting")
    server.process.send_signal(signal.SIGHUP)
    wait_for_now(listed, "settings-waiting", lasts=False)


def test_all_that_a_look_up_takes_of_the_settings_is_compared() -> None:
    used = set()
    for path in (ROOT / "rules" / "lookup").glob("*.py"):
        used |= set(re.findall(r"settings\.(\w+)", path.read_text())) - {"current_settings"}
    assert used & set(RulesSettings.__struct_fields__) <= set(PROXYS_KEYS["rules"][1])
    recorder = (ROOT / "sightings" / "journal" / "recorder.py").read_text()
    used = set(re.findall(r"settings\.(\w+)", recorder))
    assert used & set(SightingsSettings.__struct_fields__) <= set(PROXYS_KEYS["sightings"][1])


def test_icap_derivation_without_memory(listed: Installation, start: Start) -> None:
    text = listed.config.read_text()
    costly = '{ algorithm = "argon2id", memory_kib = 65536, iterations = 1 }'
    listed.config.write_text(text.replace('name = "test"', f"name = {costly}"))
    listed.refresh()
    server = start('fail = "closed"\n')
    assert is_blocked(server.ask(LISTED))
    (worker,) = server.workers()
    size = int(Path(f"/proc/{worker}/statm").read_text().split()[0])
    most = size * resource.getpagesize() + (16 << 20)
    resource.prlimit(worker, resource.RLIMIT_AS, (most, most))
    assert is_unable(server.ask(reqmod(http_request("http://other.example/"))))
    found = status(listed)
    assert (found.code, found.count("lookup-failed")) == (2, 1)
    assert "other.example" not in server.log


def test_icap_message_that_fails(listed: Installation) -> None:
    """An error of our own, in the making of the page."""
    worker = IcapWorker(listed, "without_page.py")
    try:
        assert is_blocked(worker.ask(LISTED))
        found = status(listed)
        assert (found.code, found.count("message-failed")) == (2, 1)
    finally:
        log = worker.close()
    assert ": critical: message-failed: a message failed: ZeroDivisionError" in log
    assert "listed.example" not in log


@pytest.fixture
def with_digest(installation: Installation) -> Installation:
    """One that lists a digest, so that bodies are looked at."""
    installation.add("digest", attribute("sha256", "ab" * 32))
    installation.refresh()
    return installation


@pytest.mark.parametrize(
    ("why", "encoding", "body"),
    [
        ("unknown encoding", "nonsense", b"x"),
        ("damaged", "gzip", b"no gzip at all"),
        ("too long", "identity", bytes((1 << 20) + 1)),
    ],
)
def test_icap_body_that_cannot_be_checked(
    with_digest: Installation, why: str, encoding: str, body: bytes
) -> None:
    server = Icap(with_digest, "body_mib = 1\n")
    try:
        answer = server.ask(
            respmod(http_request(), http_response(Content_Encoding=encoding), chunked(body))
        )
        assert answer.status == 204 or answer.body == body
        found = status(with_digest)
        assert (found.code, found.count("body-unchecked")) == (1, 1)
    finally:
        server.close()
    assert (
        f": warning: body-unchecked: a body passed that could not be checked: {why}" in server.log
    )


def test_icap_part_of_a_file(with_digest: Installation) -> None:
    server = Icap(with_digest)
    part = b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-8/10\r\n\r\n"
    try:
        message = respmod(http_request(Range="bytes=0-8"), part, chunked(b"nine byte"))
        assert server.ask(message).body == b"nine byte"
        found = status(with_digest)
        assert (found.level("part-unchecked"), found.count("part-unchecked")) == (0, 1)
    finally:
        server.close()
    assert ": notice: part-unchecked: " in server.log
