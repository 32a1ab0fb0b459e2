"""Where a publisher and a subscriber keep what is theirs, and who may change it."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from inkgate.config.settings_file import resolve
from inkgate.rules.errors import RefreshError
from inkgate.rules.settings import RulesSettings


class Places(NamedTuple):
    """The folders and files of the `[rules]` section, resolved."""

    publisher: Path
    installed: Path
    token_file: Path
    public_key_file: Path
    key_cache: Path


def places(config: Path, settings: RulesSettings) -> Places:
    """Resolve the section's paths against the settings file's folder."""
    return Places(
        resolve(config, settings.publisher),
        resolve(config, settings.installed),
        resolve(config, settings.token_file),
        resolve(config, settings.public_key_file),
        resolve(config, settings.key_cache),
    )


@contextlib.contextmanager
def only_one(publisher: Path) -> Iterator[None]:
    """Hold the publisher's lock.

    Raises:
        RefreshError: somebody else holds it.
    """
    publisher.mkdir(mode=0o700, parents=True, exist_ok=True)
    fd = os.open(publisher / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RefreshError("another refresh is running; wait for it, or stop it") from None
        yield
    finally:
        os.close(fd)
