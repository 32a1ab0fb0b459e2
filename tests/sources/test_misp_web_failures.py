"""What an operator sees when a MISP fails, refuses the key or cannot be trusted."""

from __future__ import annotations

import logging
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest

from inkgate.rules.errors import RefreshError
from support.certificates import self_signed
from support.installation import BIN, Installation
from support.linked import link, refreshed, sealed, values_of
from support.misp import Faults, MispServer, Role
from support.misp.faults import Fault


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["429-retry-after", "429-rate-limit"])
def test_how_long_misp_asks_to_wait_is_honoured(
    linked: Installation, server: MispServer, kind: Fault
) -> None:
    server.misp.add_event("made up", [("domain", "listed.example")])

    def busy(path: str, body: dict[str, object]) -> None:
        # PyMISP's last question when it connects; it takes no notice of an earlier 429.
        if "describeTypes" in path:
            server.faults = Faults(1, 1.0, [kind], limit=1, retry_after=2)

    server.before = busy
    started = time.monotonic()
    refreshed(linked)
    assert time.monotonic() - started >= 2
    assert server.faults.made == [kind]


@pytest.mark.slow
def test_misp_that_is_down_leaves_the_last_good_reading(
    linked: Installation, server: MispServer
) -> None:
    server.misp.add_event("made up", [("domain", "listed.example")])
    refreshed(linked)
    link(linked, server, "retries = 1")
    server.faults = Faults(1, 1.0, ["500", "drop"], limit=10_000, in_a_row=10_000)
    done = linked.run("inkgate-rules", "refresh")
    assert done.returncode == 1
    assert f"127.0.0.1:{server.port}" in done.stderr
    assert "its last good reading counts" in done.stderr
    assert sealed(linked, {("domain", "listed.example")}) == server.misp.truth()
    server.close()
    assert linked.run("inkgate-rules", "refresh").returncode == 1
    assert sealed(linked, {("domain", "listed.example")}) == server.misp.truth()


@pytest.mark.slow
def test_reading_that_breaks_off_goes_on_where_it_was(
    linked: Installation, server: MispServer
) -> None:
    misp = server.misp
    for n in range(130):
        misp.add_event("made up", [("domain", f"n{n}.listed.example")])
    link(linked, server, "retries = 0")

    def broken(path: str, body: dict[str, object]) -> None:
        if path == "/attributes/restSearch" and "129" in map(str, body["eventid"]):  # type: ignore[call-overload]
            server.faults = Faults(1, 1.0, ["500"], limit=10_000, in_a_row=10_000)

    server.before = broken
    summary = linked.refresh(full=True)
    assert summary.unreadable
    assert len(sealed(linked, values_of(misp))) == 100
    server.before, server.faults = None, Faults()
    server.requests.clear()
    refreshed(linked)
    assert sealed(linked, values_of(misp)) == misp.truth()


def test_wrong_key_is_one_clear_line_without_the_key(
    linked: Installation, server: MispServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.misp.add_event("made up", [("domain", "listed.example")])
    refreshed(linked)
    server.keys.clear()
    server.keys["another"] = Role()
    server.requests.clear()
    done = linked.run("inkgate-rules", "refresh")
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.splitlines() if "127.0.0.1" in line]
    assert "does not accept the key; check key_file or key_variable" in line
    assert len(server.requests) <= 3
    with caplog.at_level(logging.DEBUG):
        summary = linked.refresh()
    told = f"{done.stdout}{done.stderr}{caplog.text}{summary.unreadable!r}"
    assert server.key not in told
    server.keys[server.key] = Role()


@pytest.mark.slow
def test_key_is_never_told_whatever_fails(
    linked: Installation, server: MispServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.misp.add_event("made up", [("domain", "listed.example")])
    link(linked, server, "retries = 2", timeout=0.6)
    with caplog.at_level(logging.DEBUG):
        for seed in range(6):
            server.faults = Faults(
                seed, 1.0, limit=99, in_a_row=99, hang_seconds=0.7, retry_after=0
            )
            with pytest.raises(RefreshError) as raised:
                linked.refresh()
            assert server.key not in f"{raised.value!r}{raised.getrepr()}{caplog.text}"


@pytest.mark.slow
def test_key_comes_from_the_environment_and_is_no_argument(
    installation: Installation, server: MispServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.misp.add_event("made up", [("domain", "listed.example")])
    link(installation, server)
    text = installation.config.read_text()
    installation.config.write_text(text.replace('key_file = "misp.key"\n', ""))
    (installation.config.parent / "misp.key").unlink()
    done = installation.run("inkgate-rules", "refresh")
    assert done.returncode == 2
    assert "set INKGATE_MISP_KEY" in done.stderr
    monkeypatch.setenv("INKGATE_MISP_KEY", server.key)
    arguments = [BIN / "inkgate-rules", "--config", installation.config, "refresh"]
    server.faults = Faults(1, 1.0, ["hang"], limit=1, hang_seconds=0.5)
    with subprocess.Popen(arguments, stdout=subprocess.DEVNULL) as process:
        seen = set()
        while process.poll() is None:
            seen.add(Path(f"/proc/{process.pid}/cmdline").read_bytes())
            with suppress(subprocess.TimeoutExpired):
                process.wait(0.01)
    assert process.returncode == 0
    assert seen
    assert not any(server.key.encode() in line for line in seen)


def test_tls_is_verified_unless_its_ca_is_named(installation: Installation, tmp_path: Path) -> None:
    pair = self_signed(tmp_path)
    with MispServer(tls=pair) as server:
        server.misp.add_event("made up", [("domain", "listed.example")])
        link(installation, server)
        with pytest.raises(RefreshError, match=r"not trusted; name the file of its CA in ca_file"):
            installation.refresh()
        assert not server.requests
        link(installation, server, 'ca_file = "missing.pem"')
        with pytest.raises(RefreshError, match=r"missing\.pem: does not exist"):
            installation.refresh()
        link(installation, server, f'ca_file = "{pair[0]}"')
        done = refreshed(installation)
        assert done.rules - done.canaries == 1


def test_redirect_leaves_the_last_good_reading_and_is_named(
    linked: Installation, server: MispServer
) -> None:
    server.misp.add_event("made up", [("domain", "listed.example")])
    refreshed(linked)
    server.redirect = (302, "https://misp.example/users/login?from=here")
    done = linked.run("inkgate-rules", "refresh")
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.splitlines() if "127.0.0.1" in line]
    assert "redirects to https://misp.example/users/login, where" in line
    assert "correct url" in line
    assert server.redirected == 1
    assert sealed(linked, {("domain", "listed.example")}) == server.misp.truth()
