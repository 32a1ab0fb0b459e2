"""What inkgate-squid-conf prints, read by the real Squid."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from inkgate.squid_conf.check import helper_problem
from inkgate.squid_conf.word import SquidConfError, squid_word
from support.authority import Authority
from support.installation import BIN, Installation, attribute

SQUID = shutil.which("squid", path="/usr/sbin:/usr/bin")


def parsed_by_squid(folder: Path, text: str) -> subprocess.CompletedProcess[str]:
    conf = folder / "squid.conf"
    conf.write_text(text)
    assert SQUID
    return subprocess.run(
        [SQUID, "-k", "parse", "-f", conf], capture_output=True, text=True, timeout=60, check=False
    )


def test_minimal_is_accepted_by_squid(installation: Installation) -> None:
    assert installation.run("inkgate-squid-conf", "pages").returncode == 0
    done = installation.run("inkgate-squid-conf", "minimal", "--folder", str(installation.folder))
    parsed = parsed_by_squid(installation.folder, done.stdout)
    assert parsed.returncode == 0, parsed.stderr
    assert "WARNING" not in parsed.stderr
    assert "ERROR" not in parsed.stderr


@pytest.mark.parametrize("extra", ["", "user_agent = false\nreplies = false\n"])
@pytest.mark.slow
def test_fragment_is_accepted_by_squid(installation: Installation, extra: str) -> None:
    with installation.config.open("a") as file:
        file.write(extra)
    installation.run("inkgate-squid-conf", "pages")
    log = f"stdio:{installation.folder}/access.log"
    done = installation.run("inkgate-squid-conf", "fragment", "--access-log", log)
    assert done.returncode == 0, done.stderr
    parsed = parsed_by_squid(installation.folder, f"http_port 127.0.0.1:3128\n{done.stdout}")
    assert parsed.returncode == 0, parsed.stderr
    assert ("User-Agent" in done.stdout) == (not extra)


def test_paths_that_squid_conf_cannot_hold_are_refused() -> None:
    with pytest.raises(SquidConfError, match="without spaces"):
        squid_word("/srv/with space/x")


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become Squid's user")
def test_helper_that_squid_cannot_run_is_said_beforehand(installation: Installation) -> None:
    installation.add("one", attribute("domain", "listed.example"))
    installation.refresh()
    shutil.chown(installation.folder / "run", "proxy", "proxy")
    assert helper_problem(BIN / "inkgate-helper", installation.config, "proxy") is None
    hidden = installation.folder / "hidden"
    hidden.mkdir(mode=0o700)
    shutil.copy(BIN / "inkgate-helper", hidden)
    problem = helper_problem(hidden / "inkgate-helper", installation.config, "proxy")
    assert problem is not None
    assert "cannot run" in problem
    assert "/usr/bin/python3" in problem


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become Squid's user")
def test_helper_that_is_tried_has_no_terminal_of_roots(installation: Installation) -> None:
    """Squid's user may hold it (ptrace), and could type into root's shell by its terminal."""
    helper = installation.folder / "helper"
    helper.write_text(
        "#!/bin/sh\necho session $(cut -d' ' -f6 /proc/$$/stat) of $$ >&2\necho 1 ERR\n"
    )
    helper.chmod(0o755)
    said = helper_problem(helper, installation.config, "proxy")
    assert said is not None
    session, _, process = said.removeprefix("session ").partition(" of ")
    assert session == process


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become Squid's user")
def test_token_that_squid_cannot_read_is_said_beforehand(installation: Installation) -> None:
    installation.add("one", attribute("domain", "listed.example"))
    installation.refresh()
    installation.places.token_file.chmod(0o600)
    problem = helper_problem(BIN / "inkgate-helper", installation.config, "proxy")
    assert problem is not None
    assert "token: Permission denied" in problem


@pytest.mark.parametrize("bump", ["none", "sni", "listed", "full"])
@pytest.mark.parametrize("fail", ["open", "closed"])
@pytest.mark.slow
def test_icap_examples_are_accepted_by_squid(
    installation: Installation, bump: str, fail: str
) -> None:
    authority = Authority().write(installation.folder / "ca.pem")
    hosts = installation.folder / "hosts"
    hosts.write_text("opened.example\n")
    with installation.config.open("a") as file:
        file.write(f'bump_authority = "{authority}"\nbump_hosts = "{hosts}"\n')
        file.write(f'icap = "icap://192.0.2.1:1344"\n[icap]\nfail = "{fail}"\n')
    words = ("--icap", "--bump", bump, "minimal", "--folder", str(installation.folder))
    done = installation.run("inkgate-squid-conf", *words)
    assert done.returncode == 0, done.stderr
    assert f"bypass={'on' if fail == 'open' else 'off'}" in done.stdout
    parsed = parsed_by_squid(installation.folder, done.stdout)
    assert parsed.returncode == 0, parsed.stderr
    assert "WARNING" not in parsed.stderr
    assert "ERROR" not in parsed.stderr


def test_icap_by_itself_prints_a_drop_in(installation: Installation) -> None:
    done = installation.run("inkgate-squid-conf", "--icap")
    assert "icap_service inkgate_reqmod reqmod_precache icap://127.0.0.1:1344/reqmod" in done.stdout
    assert "external_acl_type" not in done.stdout
