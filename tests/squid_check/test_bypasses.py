"""What Squid lets pass past an ICAP server that does not answer, by `inkgate squid bypasses`."""

from __future__ import annotations

import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from inkgate.blocked_page.settings import SquidSettings
from inkgate.squid_conf.bypasses import bypass_findings, bypass_lines, passed_unanswered
from inkgate.squid_conf.configuration import read_configuration
from support.icap import Icap
from support.icap_squid import Origin
from support.installation import BIN, Installation, attribute
from support.placed_squid import ACCESS, SQUID, PlacedSquid, configure_squid
from support.squid import free_port
from support.status import status
from support.waiting import wait_until


def needs_squid(test: Callable[..., None]) -> Callable[..., None]:
    """Marks a test that starts a Squid."""
    is_missing = pytest.mark.skipif(SQUID is None, reason="squid is missing")
    marked: Callable[..., None] = is_missing(pytest.mark.e2e(test))
    return marked


@pytest.mark.parametrize(
    ("line", "passed"),
    [
        (b"1700000000.100 TCP_MISS/200 2,5 RESPMOD", None),
        (b"1700000000.100 TCP_MISS/200 2,5 -", "request"),
        (b"1700000000.100 TCP_MISS/200 - -", "request"),
        (b"1700000000.100 TCP_MISS/200 2,3006 REQMOD", "reply"),
        # A reply out of the cache, or an error page of Squid's.
        (b"1700000000.100 TCP_MEM_HIT/200 2 REQMOD", None),
        (b"1700000000.100 TCP_MISS/503 2 REQMOD", None),
        (b"1700000000.100 TCP_TUNNEL/200 - -", "request"),
        (b"1700000000.100 TCP_MISS_ABORTED/200 - -", "request"),
        # Nothing was sent to the client.
        (b"1700000000.100 TCP_MISS_ABORTED/000 - -", None),
        (b"1700000000.100 TCP_DENIED/403 - -", None),
        (b"1700000000.100 NONE_NONE/403 6 REQMOD", None),
        (b"1700000000.100 NONE_NONE/000 - -", None),
        (b"1700000000.100 TCP_MISS/200 2,5", None),
        (b"\xff\x00", None),
        (b"", None),
    ],
)
def test_line_tells_what_passed(line: bytes, passed: str | None) -> None:
    assert passed_unanswered(line) == passed


class SlowOrigin:
    """A web server that answers when `goes_on` is set."""

    def __init__(self) -> None:
        self.goes_on = threading.Event()
        self.asked = threading.Event()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        client, _ = self._listening.accept()
        with client:
            client.recv(65536)
            self.asked.set()
            assert self.goes_on.wait(60)
            client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")

    def close(self) -> None:
        self._listening.close()


@pytest.fixture
def squid(installation: Installation) -> Iterator[tuple[PlacedSquid, Icap, Origin]]:
    """A Squid as `inkgate squid install` leaves it, that asks an ICAP server with `open`."""
    installation.add("listed", attribute("domain", "listed.example"))
    installation.refresh()
    placed = PlacedSquid(installation, ACCESS)
    names = "127.0.0.1 localhost clean.example listed.example\n"
    (placed.folder / "hosts").write_text(names)
    configure_squid(installation, 'front_ends = "icap"')
    with closing(Icap(installation)) as icap, closing(Origin()) as origin:
        placed.install()
        with placed:
            placed.start()
            yield placed, icap, origin


def counted(installation: Installation) -> tuple[int, str]:
    """How many passed unanswered until now, and what the command said."""
    done = installation.run("inkgate", "squid", "bypasses", "--until-idle")
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    return status(installation).count("squid-bypassed"), done.stderr


def lines(squid: PlacedSquid) -> int:
    log = squid.folder / "bypasses.log"
    return log.read_text().count("TCP_") if log.exists() else 0


@needs_squid
def test_message_that_squid_let_pass_unanswered_is_counted(
    installation: Installation, squid: tuple[PlacedSquid, Icap, Origin]
) -> None:
    placed, icap, origin = squid
    clean, listed = (f"http://{n}.example:{origin.port}/" for n in ("clean", "listed"))
    assert [placed.get(url).status for url in (clean, listed)] == [200, 403]
    assert placed.get(f"http://clean.example:{free_port()}/").status == 503
    wait_until(lambda: lines(placed) == 2, "Squid's lines of what was answered")
    assert counted(installation)[0] == 0
    found = status(installation)
    assert found.level("bypasses") == 1
    icap.process.kill()
    icap.process.wait()
    assert [placed.get(url).status for url in (clean, listed)] == [200, 200]
    wait_until(lambda: lines(placed) == 4, "Squid's lines of what was not")
    number, said = counted(installation)
    assert number == 2
    assert ": critical: squid-bypassed: passed unanswered: 2 request" in said
    assert "listed.example" not in said + (placed.folder / "bypasses.log").read_text()
    assert status(installation).level("squid-bypassed") == 2
    # What was counted is not counted again.
    assert counted(installation)[0] == 2


@needs_squid
def test_reply_that_squid_let_pass_unanswered_is_counted(
    installation: Installation, squid: tuple[PlacedSquid, Icap, Origin]
) -> None:
    placed, icap, _origin = squid
    with closing(SlowOrigin()) as slow:
        got: list[int] = []
        client = threading.Thread(
            target=lambda: got.append(placed.get(f"http://clean.example:{slow.port}/").status)
        )
        client.start()
        assert slow.asked.wait(60)
        icap.process.kill()
        icap.process.wait()
        slow.goes_on.set()
        client.join(60)
    assert got == [200]
    wait_until(lambda: lines(placed) == 1, "Squid's line")
    number, said = counted(installation)
    assert (number, "passed unanswered: 1 reply" in said) == (1, True)


@needs_squid
def test_service_counts_bypasses_over_a_rotation_of_squids(
    installation: Installation, squid: tuple[PlacedSquid, Icap, Origin]
) -> None:
    placed, icap, origin = squid
    url = f"http://clean.example:{origin.port}/"
    service = subprocess.Popen(
        [BIN / "inkgate", "--config", installation.config, "squid", "bypasses"],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        icap.process.kill()
        icap.process.wait()
        placed.get(url)
        wait_until(lambda: status(installation).count("squid-bypassed") == 1, "the first")
        assert status(installation).level("bypasses") == 0
        log = placed.folder / "bypasses.log"
        log.rename(log.with_suffix(".log.1"))
        placed.get(url)
        assert placed.process
        placed.process.send_signal(signal.SIGUSR1)
        wait_until(log.exists, "Squid's new log")
        placed.get(url)
        wait_until(lambda: status(installation).count("squid-bypassed") == 3, "all three")
    finally:
        service.terminate()
        assert service.wait(60) == 0


@needs_squid
def test_squid_that_lets_nothing_pass_logs_no_bypasses(installation: Installation) -> None:
    installation.add("listed", attribute("domain", "listed.example"))
    installation.refresh()
    placed = PlacedSquid(installation, ACCESS)
    configure_squid(installation, 'front_ends = "icap"')
    with closing(Icap(installation, 'fail = "closed"\n')):
        placed.install()
    text = placed.fragment.read_text()
    assert ("bypass=off" in text, "inkgate_bypass" in text) == (True, False)


@pytest.mark.parametrize(
    ("lines", "bypasses", "is_said"),
    [
        (["bypass=on"], "log", True),
        (["bypass=on", *bypass_lines("/log")], "log", False),
        (["bypass=on"], "", False),
        (["bypass=off"], "log", False),
        ([""], "log", False),
    ],
)
def test_bypass_that_is_not_logged_is_said(
    tmp_path: Path, lines: list[str], bypasses: str, is_said: bool
) -> None:
    word, *others = lines
    service = "icap://127.0.0.1:1344"
    first = f"icap_service inkgate_reqmod reqmod_precache {service}/reqmod {word}"
    conf = tmp_path / "squid.conf"
    conf.write_text("\n".join([first, *others]))
    settings = SquidSettings(bypasses=bypasses)
    found = list(bypass_findings(read_configuration(conf), settings, service))
    assert [finding.level for finding in found] == ["warning"] * is_said
