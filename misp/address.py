"""Addresses of a MISP: as PyMISP needs them, and as they may be told."""

from __future__ import annotations

from pathlib import Path
from typing import Final
from urllib.parse import urljoin, urlsplit

from inkgate.config.errors import Unreadable
from inkgate.config.printable import printable

_MAX_TOLD: Final = 300
_NO_URL: Final = "something that is no URL"


def base_url(url: str) -> str:
    """With a slash at its end: without it a path of its own would be left out."""
    return f"{url.rstrip('/')}/"


def place_of(url: str) -> str:
    """Host, port and path of a URL: nothing of it is secret.

    Raises:
        Unreadable: it is none. Python's own error would quote its password.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        raise Unreadable(Path("url"), None, "is no URL", "correct it") from None
    return f"{_host_and_port(parts.netloc)}{parts.path.rstrip('/')}"


def redirect_target(url: str, location: str) -> str:
    """Where a redirect leads: scheme, host, port and path, printable and not too long.

    Args:
        url: what was asked.
        location: the answer's Location, absolute or not.
    """
    try:
        parts = urlsplit(urljoin(url, location))
    except ValueError:
        return _NO_URL
    if parts.scheme not in ("http", "https"):
        return _NO_URL
    # Two Locations in one answer come as one, with the user of the second in the path; and
    # behind a semicolon Java's servers name the session.
    path = "" if "@" in parts.path else parts.path.partition(";")[0]
    told = f"{parts.scheme}://{_host_and_port(parts.netloc)}{path}"
    return printable(told)[:_MAX_TOLD]


def _host_and_port(netloc: str) -> str:
    return netloc.rpartition("@")[2]
