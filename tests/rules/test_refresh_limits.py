"""A refresh that hangs, or finds nothing since its sources failed, and who waits behind it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from inkgate.rules.errors import RefreshError
from inkgate.rules.paths import LOCK, writer_lock
from support.hostile import HostileServer, is_silent
from support.installation import Installation, attribute
from support.status import status

SOURCE = 'sources = ["events", {{type = "misp-web", url = "{url}", retries = 0}}]\n'


@pytest.fixture
def listed(installation: Installation) -> Installation:
    installation.add("listed", attribute("domain", "listed.example"))
    installation.refresh()
    return installation


def ask_misp(installation: Installation, server: HostileServer, more: str = "") -> None:
    installation.configure(SOURCE.format(url=server.url) + more)


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INKGATE_MISP_KEY", "k" * 40)


def test_refresh_that_hangs_is_broken_off_and_frees_its_lock(listed: Installation) -> None:
    with HostileServer(is_silent) as server:
        ask_misp(listed, server, "refresh_seconds = 1\n")
        began = time.monotonic()
        with pytest.raises(RefreshError, match="took longer than 1 s"):
            listed.refresh()
        assert time.monotonic() - began < 20
        with writer_lock(listed.places.publisher, 0o700):
            pass
    listed.configure('sources = ["events"]')
    assert not listed.refresh().published
    assert listed.matcher().look_up("domain", "name", b"listed.example")


def test_what_hangs_is_no_fault_of_a_source_that_the_refresh_goes_on_without(
    listed: Installation,
) -> None:
    """What is raised is not taken for a failure of the MISP that was being asked."""
    with HostileServer(is_silent) as server:
        ask_misp(listed, server, "refresh_seconds = 1\n")
        done = listed.run("inkgate-rules", "refresh")
        assert (done.returncode, done.stdout) == (2, "")
        assert "raise [rules] refresh_seconds" in done.stderr
        assert "not read" not in done.stderr
    assert status(listed).level("refresh") == 2
    assert "refresh_seconds" in status(listed).rows["refresh"]["text"]


def test_what_no_signal_ends_ends_with_the_process(tmp_path: Path) -> None:
    program = (
        "import threading\n"
        "from inkgate.rules.refresh.time_limit import time_limit\n"
        "with time_limit(0.1, grace_seconds=0.3):\n"
        "    while True:\n"
        "        try:\n"
        "            threading.Event().wait(60)\n"
        "        except BaseException:\n"
        "            print('caught', flush=True)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (2, "caught\n")
    assert "took longer than 0.1 s" in done.stderr
    assert "ended without cleaning up" in done.stderr


def test_alarms_of_others_are_theirs() -> None:
    from inkgate.rules.refresh.time_limit import time_limit

    heard: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda number, _: heard.append(number))
    try:
        with time_limit(60):
            os.kill(os.getpid(), signal.SIGALRM)
        os.kill(os.getpid(), signal.SIGALRM)
        assert heard == [signal.SIGALRM, signal.SIGALRM]
    finally:
        signal.signal(signal.SIGALRM, before)


def test_second_refresh_tells_process_and_age_of_the_first(listed: Installation) -> None:
    lock = listed.places.publisher / LOCK
    with writer_lock(listed.places.publisher, 0o700):
        assert lock.stat().st_mode & 0o777 == 0o600
        lock.write_text(f"{os.getpid()} {time.time() - 25 * 60:.0f}\n")
        done = listed.run("inkgate-rules", "refresh")
    assert done.returncode == 2
    assert f"(process {os.getpid()}, for 25 min)" in done.stderr
    assert lock.read_bytes() == b""


@pytest.mark.parametrize("text", ["", "x", "4194303999 5\n", "-1 5\n", "1" * 5000, "0 0\n"])
def test_what_is_no_holder_is_not_told(listed: Installation, text: str) -> None:
    with writer_lock(listed.places.publisher, 0o700):
        (listed.places.publisher / LOCK).write_text(text)
        done = listed.run("inkgate-rules", "refresh")
    assert done.returncode == 2
    assert "another refresh is running; wait" in done.stderr


def test_source_that_fails_is_told_first(installation: Installation) -> None:
    with HostileServer(lambda connection: connection.close()) as server:
        ask_misp(installation, server)
        with pytest.raises(RefreshError) as told:
            installation.refresh()
        assert str(told.value).startswith("not read: 127.0.0.1")
        assert "allow-empty" not in str(told.value)
