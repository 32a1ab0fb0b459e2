"""A password or key for a source, from a file or the environment, never from the settings."""

from __future__ import annotations

import os
from pathlib import Path

from inkgate.config.errors import Unreadable
from inkgate.config.regular_files import open_regular

_MAX_BYTES = 4096


def read_secret(file: Path | None, variable: str, needed_for: str) -> str:
    """The secret without white space around it.

    Raises:
        Unreadable: it is in neither place.
    """
    if file is not None:
        try:
            with open_regular(file) as opened:
                text = opened.read(_MAX_BYTES).decode().strip()
        except (OSError, UnicodeDecodeError) as error:
            problem = getattr(error, "strerror", None) or "is not text"
            raise Unreadable(file, None, problem, f"it holds the secret for {needed_for}") from None
        if not text:
            raise Unreadable(file, None, "is empty", f"it holds the secret for {needed_for}")
        return text
    value = os.environ.get(variable, "").strip()
    if not value:
        raise Unreadable(
            Path(needed_for), None, "has no key", f"set {variable}, or name a file in the settings"
        )
    return value
