"""What `inkgate squid check` says when something else than the order of lines is wrong."""

from __future__ import annotations

import shutil
import signal
import subprocess
from contextlib import closing

import pytest

from inkgate.rules.refresh import refresh as refreshing
from inkgate.squid_conf.through_proxy.icap_answers import icap_finding
from support.answering import Answering
from support.icap import Icap, options
from support.installation import BIN, Installation, attribute
from support.placed_squid import ACCESS, PlacedSquid, configure_squid
from support.squid import free_port
from support.status import status
from support.waiting import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


@pytest.fixture
def listed(installation: Installation) -> Installation:
    installation.add("listed", attribute("domain", "listed.example"))
    installation.refresh()
    return installation


@pytest.mark.parametrize(
    ("fail", "said"),
    [("open", "what is listed is not refused"), ("closed", "inkgate could not tell")],
)
def test_token_that_squids_user_cannot_read_is_seen(
    listed: Installation, fail: str, said: str
) -> None:
    text = listed.config.read_text().replace('fail = "open"', f'fail = "{fail}"')
    listed.config.write_text(text)
    with PlacedSquid(listed) as squid:
        squid.install()
        listed.places.token_file.chmod(0o600)
        squid.start()
        done = squid.inkgate("check")
        assert done.returncode == 2
        assert said in done.stdout
        assert "critical: canary: " in done.stderr


def test_no_rules_are_said(installation: Installation) -> None:
    with PlacedSquid(installation) as squid:
        squid.install()
        done = squid.inkgate("check")
        assert done.returncode == 2
        assert "no rule set is installed" in done.stdout


def test_pack_without_canaries_is_said_and_not_failed(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refreshing, "canary_records", lambda *_: [])
    installation.add("listed", attribute("domain", "listed.example"))
    installation.refresh()
    with PlacedSquid(installation) as squid:
        squid.install()
        squid.start()
        done = squid.inkgate("check")
        assert done.returncode == 1, (done.stdout, done.stderr)
        assert "the installed rules hold no canary" in done.stdout


def test_icap_server_that_does_not_answer_is_said(listed: Installation) -> None:
    configure_squid(listed, 'front_ends = "icap"')
    with listed.config.open("a") as file:
        file.write(f'[icap]\nfail = "closed"\nlisten = "127.0.0.1:{free_port()}"\n')
    with PlacedSquid(listed) as squid:
        squid.install()
        squid.start()
        done = squid.inkgate("check")
        assert done.returncode == 2
        assert "inkgate's ICAP server does not answer" in done.stdout


def test_icap_server_that_is_down_while_requests_pass_is_said(listed: Installation) -> None:
    """With `fail = "open"`, and so `bypass=on`, no answer of Squid's tells why they do."""
    configure_squid(listed, 'front_ends = "icap"')
    with listed.config.open("a") as file:
        file.write(f'[icap]\nlisten = "127.0.0.1:{free_port()}"\n')
    with PlacedSquid(listed) as squid:
        squid.install()
        squid.start()
        done = squid.inkgate("check")
        assert done.returncode == 2
        first, *others = done.stdout.splitlines()
        assert "the ICAP server icap://127.0.0.1:" in first
        assert "Squid lets everything pass meanwhile (bypass=on)" in first
        assert any("what is listed is not refused" in line for line in others)
        critical = [line for line in done.stdout.splitlines() if line.startswith("CRITICAL")]
        # Squid 5.7 itself ends at times, by an assertion, when OPTIONS fail.
        expected = ("-> start inkgate-icap", "the connection was refused")
        assert [line for line in critical if not any(words in line for words in expected)] == []
        assert "the ICAP server" in status(listed).rows["canary"]["text"]


def test_icap_server_that_was_just_started_is_waited_for(listed: Installation) -> None:
    """Squid holds it to be down for 30 s more: no line of squid.conf is at fault."""
    configure_squid(listed, 'front_ends = "icap"')
    # For its address, which Squid is told before it runs.
    Icap(listed).close()
    with PlacedSquid(listed) as squid:
        squid.install()
        squid.start()
        assert squid.inkgate("check").returncode == 2
        server = subprocess.Popen([BIN / "inkgate-icap", "--config", listed.config])
        try:
            wait_until(lambda: not status(listed).level("icap"), "the ICAP server")
            squid.start_if_ended()
            done = squid.inkgate("check")
            assert done.returncode == 0, (done.stdout, done.stderr)
        finally:
            server.terminate()
            server.wait()


def test_icap_server_that_serves_squid_and_not_the_check_is_no_fault(listed: Installation) -> None:
    configure_squid(listed, 'front_ends = "icap"')
    with PlacedSquid(listed) as squid, closing(Icap(listed)) as server:
        text = listed.config.read_text().replace("[icap]", '[icap]\nallow_users = ["proxy"]')
        listed.config.write_text(text)
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: _is_refused(server), "root to be refused")
        squid.install()
        squid.start()
        done = squid.inkgate("check")
        assert done.returncode == 0, (done.stdout, done.stderr)


def _is_refused(server: Icap) -> bool:
    with server.connect() as client:
        client.sendall(options("reqmod"))
        try:
            return not client.recv(1)
        except ConnectionResetError:
            return True


def test_icap_server_that_is_silent_or_no_such_server_is_said() -> None:
    with Answering(b"HTTP/1.1 200 OK\r\n") as port:
        other = icap_finding(f"icap://127.0.0.1:{port.number}", fails_open=False)
    assert other is not None
    assert "answers 'HTTP/1.1 200 OK'" in other.fault
    assert "refuses everything meanwhile" in other.fault
    with Answering(pause=30) as port:
        silent = icap_finding(f"icap://127.0.0.1:{port.number}", fails_open=True)
    assert silent is not None
    assert "is silent for 3 s" in silent.fault
    with Answering() as port:
        closed = icap_finding(f"icap://127.0.0.1:{port.number}", fails_open=True)
    assert closed is not None
    assert "[icap] allow" in closed.fault


@pytest.mark.parametrize("text", [None, "ftp://127.0.0.1"])
def test_clients_proxy_that_cannot_be_read_is_kept(listed: Installation, text: str | None) -> None:
    configure_squid(listed, 'client_proxy_file = "client-proxy"')
    if text is not None:
        (listed.folder / "client-proxy").write_text(text)
    with PlacedSquid(listed) as squid:
        assert squid.inkgate("check").returncode == 2
    row = status(listed).rows["canary"]
    assert (row["level"], str(listed.folder / "client-proxy") in row["text"]) == (2, True)


def test_installation_for_other_front_ends_is_judged_by_them(listed: Installation) -> None:
    """The settings want the helper."""
    with PlacedSquid(listed) as squid, closing(Icap(listed)):
        squid.start()
        done = squid.inkgate("install", "--icap")
        assert done.returncode == 1, (done.stdout, done.stderr)
        assert "CRITICAL" not in done.stdout
        assert 'set front_ends = "icap" in [squid_conf]' in done.stdout


def test_one_of_two_workers_that_lets_pass_is_found(listed: Installation) -> None:
    with PlacedSquid(listed, "workers 2\n" + ACCESS) as squid:
        squid.install()
        squid.start()
        done = squid.inkgate("check")
        assert done.returncode == 0, (done.stdout, done.stderr)
        squid.stop()
        squid.edit(
            "http_access deny !Safe_ports",
            "if ${{process_number}} = 2\nhttp_access allow localhost\nendif\n"
            "http_access deny !Safe_ports",
        )
        squid.edit("include {etc}/inkgate.conf\n", "")
        squid.edit(
            "http_access deny manager", "include {etc}/inkgate.conf\nhttp_access deny manager"
        )
        squid.start()
        done = squid.inkgate("check")
        assert done.returncode == 2
        assert "what is listed is not refused: CONNECT to a listed name" in done.stdout


def test_requests_that_go_on_to_a_parent_are_said(listed: Installation) -> None:
    parent = (
        f"cache_peer 127.0.0.1 parent {free_port()} 0 no-query no-digest\nnever_direct allow all\n"
    )
    with PlacedSquid(listed, parent + ACCESS) as squid:
        squid.install()
        squid.start()
        done = squid.inkgate("check")
        assert done.returncode == 1, (done.stdout, done.stderr)
        assert "where requests go on to another proxy (cache_peer)" in done.stdout


def test_result_that_cannot_be_kept_is_said(listed: Installation) -> None:
    with PlacedSquid(listed) as squid:
        squid.install()
        squid.start()
        text = listed.config.read_text().replace("squid-check.json", "nowhere/squid-check.json")
        listed.config.write_text(text)
        done = squid.inkgate("check")
        assert done.returncode == 1, (done.stdout, done.stderr)
        assert "inkgate status cannot show this result" in done.stdout


def test_blocked_page_and_launcher_that_are_gone_are_said(listed: Installation) -> None:
    with PlacedSquid(listed) as squid:
        squid.install()
        shutil.rmtree(listed.folder / "pages")
        shutil.rmtree(listed.folder / "launcher")
        done = squid.inkgate("check")
        assert "the blocked page" in done.stdout
        assert "inkgate-launch cannot be run" in done.stdout
