"""Lines of logs, and waiting for what comes of them."""

from __future__ import annotations

import time
from collections.abc import Callable


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


def wait_for(condition: Callable[[], bool], seconds: float) -> None:
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.05)
