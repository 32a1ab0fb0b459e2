"""What tests of a helper's faults ask for, and what they expect."""

from __future__ import annotations

import time
from collections.abc import Callable

from support.helper_process import HelperProcess
from support.installation import Installation

LISTED = "http://listed.example/"
PASSES, BLOCKS, UNABLE = b"ERR", b"OK", b"BH"

Start = Callable[[], HelperProcess]


def set_key(installation: Installation, section: str, line: str) -> None:
    """Put a line into a section of the settings."""
    text = installation.config.read_text()
    installation.config.write_text(text.replace(f"[{section}]\n", f"[{section}]\n{line}\n", 1))


def said(helper: HelperProcess, condition: str, severity: str = "critical") -> str:
    """The helper's log, which has dated lines only, and one of them about the condition."""
    log = helper.close()
    for line in log.splitlines():
        time.strptime(line.split(" ", 1)[0], "%Y-%m-%dT%H:%M:%S%z")
        assert line.split(" ", 2)[1] == f"inkgate-helper[{helper.process.pid}]:"
    assert f": {severity}: {condition}: " in log
    return log
