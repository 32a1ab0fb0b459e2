"""Whether Squid's user can run the helper: if not, Squid does not even start."""

from __future__ import annotations

import os
import pwd
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

SQUID_USER: Final = "proxy"
_REQUEST: Final = b"1 GET http://inkgate-check.invalid/ 192.0.2.1 - - -\n"
_SECONDS: Final = 30
_USE: Final = re.compile(r"\S+ inkgate-helper\[\d+\]: use of serial ")


def helper_command() -> Path:
    """Where inkgate-helper lies: beside this interpreter, by its real path."""
    return Path(sys.prefix).resolve() / "bin" / "inkgate-helper"


def helper_problem(helper: Path, config: Path, user: str) -> str | None:
    """Start the helper as Squid would, with one request; what is wrong, or None.

    Only root can become another user: for anybody else there is nothing to say.
    """
    if os.getuid() != 0 or not _exists(user):
        return None
    try:
        done = subprocess.run(
            [helper, "--config", config],
            input=_REQUEST,
            capture_output=True,
            timeout=_SECONDS,
            check=False,
            user=user,
            group=pwd.getpwnam(user).pw_gid,
            extra_groups=[],
            # Without root's terminal: whoever takes over this process, as its user may
            # (ptrace(2)), could otherwise type into root's shell (TIOCSTI).
            start_new_session=True,
            cwd="/",
            env={},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return (
            f"user {user} cannot run {helper} ({getattr(error, 'strerror', 'no answer')}): Squid "
            "would stop at once; make the virtual environment with /usr/bin/python3, in a "
            "folder that everybody may enter"
        )
    said = done.stderr.decode("utf-8", "replace").strip()
    if not done.stdout.startswith(b"1 "):
        return f"{helper} gave no answer as user {user}: {said}"
    # Which rules it uses is no complaint.
    return "\n".join(line for line in said.splitlines() if not _USE.match(line)) or None


def _exists(user: str) -> bool:
    try:
        pwd.getpwnam(user)
    except KeyError:
        return False
    return True
