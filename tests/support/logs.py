"""Lines of logs."""

from __future__ import annotations

import re
from pathlib import Path

from support.waiting import wait_until


def access_line(
    url: str,
    *,
    server: str = "192.0.2.80",
    client: str = "192.0.2.9",
    method: str = "GET",
    number: int = 0,
) -> str:
    """A line of Squid's native access.log."""
    return (
        f"{1_700_000_000 + number}.000     45 {client} TCP_MISS/200 1234 {method} {url} - "
        f"HIER_DIRECT/{server} text/html"
    )


def wait_for_line(log: Path, pattern: str) -> str:
    """The first line of a file in which a regular expression is found, once it is written."""

    def found() -> str | None:
        lines = log.read_text("utf-8", "replace").splitlines() if log.exists() else []
        return next((line for line in lines if re.search(pattern, line)), None)

    return str(wait_until(found, f"a line with {pattern!r} in {log}"))
