"""What happens when: an ICAP server that is stopped, gone or out of reach, seen through Squid."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from support.icap_squid import IcapSquid
from support.installation import Installation, attribute
from support.squid import Reply
from support.waiting import wait_until

pytestmark = pytest.mark.e2e

LISTED = "http://listed.example/"
PLAIN = "http://plain.example/"
# Squid gives up a message up to a second after icap_io_timeout. With `open` there are two of
# them: a request's and its response's.
MOST_SECONDS = {"open": 6.5, "closed": 5.0}
PASSED = {"open": 200, "closed": 500}


@pytest.fixture
def squid(request: pytest.FixtureRequest, installation: Installation) -> Iterator[IcapSquid]:
    installation.add("listed", attribute("domain", "listed.example"))
    installation.refresh()
    started = IcapSquid(installation, fail=request.param)
    started.fail = request.param  # type: ignore[attr-defined]
    yield started
    started.close()


both = pytest.mark.parametrize("squid", ["open", "closed"], indirect=True)


def processes(squid: IcapSquid) -> list[int]:
    return [squid.icap.process.pid, *squid.icap.workers()]


@contextmanager
def stopped(squid: IcapSquid) -> Iterator[None]:
    found = processes(squid)
    for pid in found:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in found:
            os.kill(pid, signal.SIGCONT)


def timed(squid: IcapSquid, url: str) -> tuple[Reply, float]:
    """A reply, and how long it took without what Squid and we waited for a processor."""
    pids = squid.process.pid, os.getpid()
    waited, started = sum(map(waited_for_processor, pids)), time.monotonic()
    reply = squid.get(url)
    seconds = time.monotonic() - started
    return reply, seconds - (sum(map(waited_for_processor, pids)) - waited)


def waited_for_processor(pid: int) -> float:
    """Seconds for which a process could run and did not, since others did (proc(5))."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9


def assert_fail_decides_soon(squid: IcapSquid) -> None:
    fail = squid.fail  # type: ignore[attr-defined]
    for url in (PLAIN, LISTED):
        reply, seconds = timed(squid, url)
        assert reply.status == PASSED[fail]
        assert seconds < MOST_SECONDS[fail]


def assert_asked_again(squid: IcapSquid) -> None:
    """Not after half a minute, as when Squid has suspended the service."""
    started = time.monotonic()
    wait_until(lambda: squid.get(LISTED).status == 403, "the listed request to be blocked")
    assert time.monotonic() - started < 10
    assert squid.get(PLAIN).status == 200


@both
def test_icap_server_that_is_stopped(squid: IcapSquid) -> None:
    assert squid.get(LISTED).status == 403
    with stopped(squid):
        # More messages fail than Squid would take by its default.
        for _ in range(2):
            assert_fail_decides_soon(squid)
    assert_asked_again(squid)


@both
def test_icap_server_in_a_black_hole(squid: IcapSquid) -> None:
    """No answer to SYN, as behind a firewall: the queue of the stopped listener is full."""
    assert squid.get(LISTED).status == 403
    with stopped(squid), ExitStack() as stack:
        _fill_queue(squid.icap.port, stack)
        assert_fail_decides_soon(squid)
    assert_asked_again(squid)


def _fill_queue(port: int, stack: ExitStack) -> None:
    while True:
        client = stack.enter_context(socket.socket())
        client.settimeout(0.5)
        try:
            client.connect(("127.0.0.1", port))
        except TimeoutError:
            return


@both
def test_icap_server_that_is_killed(squid: IcapSquid) -> None:
    for pid in processes(squid):
        os.kill(pid, signal.SIGKILL)
    squid.icap.process.wait(30)
    assert_fail_decides_soon(squid)


@pytest.mark.parametrize("squid", ["open"], indirect=True)
def test_failed_messages_of_one_client_switch_nothing_off(squid: IcapSquid) -> None:
    """Downloads that are broken off count as failures in Squid."""
    squid.origin.files["/long"] = (os.urandom(3 << 20), {})
    for _ in range(15):
        reply, connection = squid.open("http://files.example/long")
        reply.read(1)
        connection.close()
        assert squid.get(LISTED).status == 403
