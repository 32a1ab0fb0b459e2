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
        Unreadable: it is in neither place, or what is there is more than a secret.
    """
    if file is not None:
        try:
            with open_regular(file) as opened:
                text = opened.read(_MAX_BYTES + 1).decode().strip()
        except (OSError, UnicodeDecodeError) as error:
            problem = getattr(error, "strerror", None) or "is not text"
            raise Unreadable(file, None, problem, f"it holds the secret for {needed_for}") from None
        if problem := _problem_of(text):
            raise Unreadable(file, None, problem, f"it holds the secret for {needed_for}")
        return text
    value = os.environ.get(variable, "").strip()
    if not value:
        raise Unreadable(
            Path(needed_for), None, "has no key", f"set {variable}, or name a file in the settings"
        )
    return value


def _problem_of(text: str) -> str:
    """Why a file holds no secret, or something beside it, which would be sent with it."""
    if not text:
        return "is empty"
    if text.startswith("\ufeff"):
        return "begins with a byte order mark; save it without"
    if len(text.encode()) > _MAX_BYTES:
        return f"is longer than {_MAX_BYTES} bytes"
    if "\n" in text or "\r" in text:
        return "has a second line; leave the secret in it, and nothing else"
    return "holds a NUL, so it is perhaps UTF-16; save it as UTF-8" if "\0" in text else ""
