"""The launcher where no thread or process can be started: a helper that broke off at each
start would end Squid."""

from __future__ import annotations

import os
import select
import subprocess
from pathlib import Path

import pytest

from support.installation import BIN, Installation, attribute
from support.waiting import wait_until

pytestmark = pytest.mark.slow

# Nobody else has processes of this user, which the limit counts.
_USER = 64_123
LAUNCHER = Path(__file__).parents[2] / "squid_conf" / "launcher" / "inkgate-launch"
_LISTED = b"GET http://listed.example/ 192.0.2.1 - - -\n"


@pytest.fixture
def listed(installation: Installation) -> Installation:
    """One that lists a host, and whose `run` belongs to a user of its own."""
    if os.getuid():
        pytest.skip("needs the right to become another user")
    installation.add("listed", attribute("domain", "listed.example"))
    installation.refresh()
    installation.places.token_file.chmod(0o644)
    for path in installation.places.installed.rglob("*"):
        path.chmod(path.stat().st_mode | 0o005)
    installation.places.installed.chmod(0o755)
    os.chown(installation.folder / "run", _USER, _USER)
    return installation


# Not even the shell can fork; nor the command that tries the helper; nor has the helper threads.
@pytest.mark.parametrize("limit", [1, 5, 7])
def test_helper_without_threads(listed: Installation, limit: int) -> None:
    process = subprocess.Popen(
        ["prlimit", f"--nproc={limit}:500", LAUNCHER, BIN / "inkgate-helper", listed.config],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        user=_USER,
        group=_USER,
        extra_groups=[],
    )
    assert process.stdin
    assert process.stdout
    try:
        process.stdin.write(b"1 " + _LISTED)
        process.stdin.flush()
        assert process.stdout.readline().startswith(b"1 ERR")
        # Once there are threads, the helper takes over.
        subprocess.run(
            ["prlimit", "--nproc=500:500", "--pid", str(process.pid)],
            user=_USER,
            group=_USER,
            extra_groups=[],
            check=True,
        )

        def is_blocked() -> bool:
            assert process.stdin
            assert process.stdout
            process.stdin.write(b"2 " + _LISTED)
            process.stdin.flush()
            assert select.select([process.stdout], [], [], 60)[0]
            return process.stdout.readline().startswith(b"2 OK ")

        wait_until(is_blocked, "the helper to take over")
    finally:
        _, said = process.communicate(timeout=60)
    assert b": critical: helper-not-started: " in said
    assert b": recovered: helper-not-started: " in said
