"""Where a publisher and a subscriber keep what is theirs, and who may change it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from inkgate.config.locks import Holder, holder_of, lock_file, signed_lock
from inkgate.config.modes import make_folder
from inkgate.config.settings_file import resolve
from inkgate.config.whole_file import remove_unfinished
from inkgate.rules.errors import BusyError
from inkgate.rules.settings import RulesSettings

PUBLISHER_MODE: Final = 0o700
LOCK: Final = ".lock"


class RulesPaths(NamedTuple):
    """The folders and files of the `[rules]` section, resolved."""

    publisher: Path
    installed: Path
    token_file: Path
    public_key_file: Path
    key_cache: Path


def rules_paths(config: Path, settings: RulesSettings) -> RulesPaths:
    """Resolve the section's paths against the settings file's folder."""
    return RulesPaths(
        resolve(config, settings.publisher),
        resolve(config, settings.installed),
        resolve(config, settings.token_file),
        resolve(config, settings.public_key_file),
        resolve(config, settings.key_cache),
    )


@contextlib.contextmanager
def writer_lock(folder: Path, mode: int) -> Iterator[None]:
    """Hold the lock of who writes into a folder: the publisher's, or that of installed rules.

    What a killed writer left aside in it is removed.

    Args:
        folder: made if it is not there.
        mode: then, of the folder.

    Raises:
        BusyError: somebody else holds it.
    """
    make_folder(folder, mode)
    lock = folder / LOCK
    with lock_file(lock, 0o600) as is_locked:
        if not is_locked:
            raise BusyError(
                f"another refresh is running{_told(holder_of(lock))}; wait for it, or stop it"
            )
        with signed_lock(lock):
            remove_unfinished(folder)
            yield


def _told(holder: Holder | None) -> str:
    if holder is None:
        return ""
    minutes = max(0, time.time() - holder.since) / 60
    age = f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.0f} h"
    return f" (process {holder.pid}, for {age})"
