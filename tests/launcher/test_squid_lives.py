"""A helper that cannot start, or that dies, does not end Squid: real Squids."""

from __future__ import annotations

import contextlib
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from inkgate.blocked_page.settings import SquidSettings
from inkgate.squid_conf.fragment import fragment
from inkgate.squid_conf.launching import Launching, place_launcher
from support.configured_squid import ConfiguredSquid
from support.installation import BIN, Installation
from support.listed import LISTED
from support.logs import wait_for_line
from support.waiting import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

LISTED_URL = "http://files.example/malware/payload.exe"
NEIGHBOUR = "http://files.example/harmless.txt"


@pytest.fixture
def listed() -> Iterator[Installation]:
    made = Installation()
    made.add("listed", *LISTED.values())
    made.refresh()
    made.run("inkgate-squid-conf", "pages")
    yield made
    made.close()


def helper_in(installation: Installation) -> Path:
    """A helper that fails while a file `broken` lies beside it, as after a lost interpreter."""
    path = installation.folder / "helper"
    path.write_text(
        "#!/bin/sh\n"
        f'[ ! -e "{installation.folder}/broken" ] || {{ echo "no interpreter" >&2; exit 3; }}\n'
        f'exec {BIN}/inkgate-helper "$@"\n'
    )
    path.chmod(0o755)
    return path


def lines(installation: Installation, fail: str, helper: Path) -> str:
    launcher = installation.folder / "launcher"
    place_launcher(launcher, fail)
    text = installation.config.read_text().replace('fail = "open"', f'fail = "{fail}"')
    installation.config.write_text(text)
    return fragment(
        SquidSettings(ttl=0, negative_ttl=0),
        launching=Launching(launcher, helper, installation.config),
        pages=installation.folder / "pages",
        log=f"stdio:{installation.folder}/squid/access.log",
    )


@contextmanager
def squid_with(installation: Installation, lines: str) -> Iterator[ConfiguredSquid]:
    with ConfiguredSquid(installation, lines) as squid:
        yield squid


def ends(installation: Installation, lines: str) -> bool:
    """Whether a Squid with these lines ends by itself, at its start or at a request."""
    try:
        with squid_with(installation, lines) as squid:
            until = time.monotonic() + 60
            while squid.process.poll() is None and time.monotonic() < until:
                with contextlib.suppress(OSError):
                    squid.get(NEIGHBOUR)
            return squid.process.poll() is not None
    except AssertionError as error:
        return "Squid did not start" in str(error)


@pytest.mark.parametrize(("fail", "verdict"), [("open", 200), ("closed", 403)])
def test_helper_that_cannot_start_is_answered_for_until_it_can(
    listed: Installation, fail: str, verdict: int
) -> None:
    broken = listed.folder / "broken"
    broken.touch()
    with squid_with(listed, lines(listed, fail, helper_in(listed))) as squid:
        for url in (LISTED_URL, NEIGHBOUR):
            reply = squid.get(url)
            assert reply.status == verdict
            assert ("This address could not be checked" in reply.body) == (fail == "closed")
            assert "inkgate-unavailable" in reply.body or fail == "open"
            assert "known to be dangerous" not in reply.body
            assert reply.squid_error is None
            line = wait_for_line(squid.folder / "access.log", re.escape(f" {url} "))
            assert line.endswith(" inkgate=inkgate-unavailable")
        log = squid.folder / "cache.log"
        wait_until(lambda: "no interpreter" in log.read_text(), "the reason in cache.log")
        broken.unlink()
        wait_until(lambda: squid.get(LISTED_URL).incident is not None, "a block by the helper", 60)
        assert squid.get(NEIGHBOUR).status == 200
        assert "recovered: helper-not-started" in log.read_text()
        assert squid.process.poll() is None


def test_same_helper_started_directly_would_end_squid(listed: Installation) -> None:
    """What the launcher is there for: the lines as 0.1.0 wrote them."""
    (listed.folder / "broken").touch()
    helper = helper_in(listed)
    text = lines(listed, "open", helper).replace("children-startup=0", "children-startup=1")
    launched = f"{listed.folder}/launcher/inkgate-launch {helper} {listed.config}"
    assert launched in text
    text = text.replace(launched, f"{helper} --config {listed.config} --fail open")
    assert ends(listed, text)


def test_lines_that_kill_the_helper_ten_times_leave_squid_alive(listed: Installation) -> None:
    helper = listed.folder / "helper"
    helper.write_text(
        "#!/bin/sh\n"
        'case "$*" in *--check*) exit 0;; esac\n'
        # Dies of the first line that asks for a certain host, and serves all others.
        "while read -r id rest; do\n"
        '  case "$rest" in *poison*) exit 1;; *) echo "$id ERR";; esac\n'
        "done\n"
    )
    helper.chmod(0o755)
    with squid_with(listed, lines(listed, "open", helper)) as squid:
        for _ in range(10):
            reply = squid.get("http://poison.example/")
            assert reply.status == 403
            assert "This address could not be checked" in reply.body
            assert squid.get(NEIGHBOUR).status == 200
        assert squid.process.poll() is None


def test_command_places_the_launcher_and_the_drop_in_starts_it(listed: Installation) -> None:
    folder = listed.folder / "launcher"
    text = listed.config.read_text() + f'launcher = "{folder}"\n'
    listed.config.write_text(text)
    warned = listed.run("inkgate-squid-conf", "fragment")
    assert "run inkgate-squid-conf launcher" in warned.stderr
    assert "placed" in listed.run("inkgate-squid-conf", "launcher").stdout
    assert "kept" in listed.run("inkgate-squid-conf", "launcher").stdout
    drop_in = listed.run("inkgate-squid-conf", "fragment")
    assert "launcher" not in drop_in.stderr
    assert f"{folder}/inkgate-launch {BIN}/inkgate-helper {listed.config}" in drop_in.stdout
    assert "children-startup=0 children-idle=1" in drop_in.stdout
    assert (folder / "fail").read_text() == "open\n"


@pytest.mark.parametrize("fail", ["open", "closed"])
def test_settings_that_cannot_be_read_leave_fail_as_it_was(listed: Installation, fail: str) -> None:
    folder = listed.folder / "launcher"
    place_launcher(folder, fail)
    done = subprocess.run(
        [folder / "inkgate-launch", f"{BIN}/inkgate-helper", listed.folder / "missing.toml"],
        input=b"1 GET http://files.example/ 192.0.2.1 - - -\n",
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.startswith(b"1 ERR" if fail == "open" else b"1 BH")
