"""Whether the settings in use are still those of the files: others wait for SIGHUP."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from inkgate.blocked_page.settings import SquidSettings
from inkgate.config.kept_files import MAX_BYTES, use
from inkgate.config.settings_file import SettingsError, load_section
from inkgate.health.monitor import Monitor
from inkgate.health.settings import HealthSettings
from inkgate.icap_server.settings import IcapSettings
from inkgate.rules.settings import RulesSettings
from inkgate.sightings.settings import SightingsSettings

_LOOK_SECONDS: Final = 1.0
_ADDRESSES: Final = ("listen", "tls_listen")

PROXYS_KEYS: Final[dict[str, tuple[type[Any], tuple[str, ...]]]] = {
    "icap": (IcapSettings, IcapSettings.__struct_fields__),
    "health": (HealthSettings, HealthSettings.__struct_fields__),
    "rules": (
        RulesSettings,
        (
            "installed",
            "token_file",
            "key_cache",
            "caps",
            "warn_age_days",
            "after_expiry",
            "remember_server_minutes",
            "remember_cache_days",
            "remember_file_hours",
        ),
    ),
    "sightings": (
        SightingsSettings,
        ("journal", "spool", "node", "clients", "clients_key_file", "hard_mib"),
    ),
    "squid_conf": (SquidSettings, ("organisation", "contact", "template")),
}
"""What a worker takes of each section: a publisher's `sources` change nothing for it."""

Values = dict[str, tuple[object, ...]]


class WaitingSettings:
    """Compares the files with what the workers were given of them.

    Args:
        config: the settings file.
        monitor: told of settings that wait.
    """

    def __init__(self, config: Path, monitor: Monitor) -> None:
        self._config = config
        self._monitor = monitor
        self._kept: tuple[tuple[Path, int], ...] = ()
        self._used: Values = {}
        self._bound: tuple[object, ...] = ()
        self._versions: list[tuple[int, ...]] = []
        self._look_at = 0.0

    def taken(self, kept: Iterable[tuple[Path, int]]) -> None:
        """The workers use these files from now on.

        Args:
            kept: files and the descriptors of their contents.

        Raises:
            SettingsError: they cannot be used.
        """
        self._kept = tuple(kept)
        self._used = self._read(self._kept)
        self._bound = self._bound or _addresses(self._used)
        self._versions = []
        self._look_at = 0.0

    def look(self) -> None:
        """Compare, if it is time and a file was touched."""
        if time.monotonic() < self._look_at:
            return
        self._look_at = time.monotonic() + _LOOK_SECONDS
        versions = [_version(path) for path, _ in self._kept]
        if versions == self._versions:
            return
        self._versions = versions
        if others := self._others():
            self._monitor.met("settings-waiting", others)
        else:
            self._monitor.over("settings-waiting", "the settings in use are those of the files")

    def _others(self) -> str:
        """What is other now than in use, or nothing."""
        try:
            now = self._read(())
        except SettingsError as error:
            return f"they cannot be used: {error}"
        names = [f"[{name}] of {self._config}" for name in now if now[name] != self._used[name]]
        names += [
            str(path)
            for path, descriptor in self._kept
            if path != self._config and _content(path) != os.pread(descriptor, MAX_BYTES + 1, 0)
        ]
        said = f"{', '.join(names)}: changed since they were read" if names else ""
        if _addresses(now) == self._bound:
            return said
        return f"{said or self._config}; listen and tls_listen need a restart"

    def _read(self, kept: Iterable[tuple[Path, int]]) -> Values:
        use(kept)
        try:
            return {
                name: _values(load_section(self._config, name, kind), keys)
                for name, (kind, keys) in PROXYS_KEYS.items()
            }
        finally:
            use(self._kept)


def _values(section: object, keys: Iterable[str]) -> tuple[object, ...]:
    return tuple(getattr(section, key) for key in keys)


def _addresses(values: Values) -> tuple[object, ...]:
    icap = dict(zip(PROXYS_KEYS["icap"][1], values["icap"], strict=True))
    return tuple(icap[key] for key in _ADDRESSES)


def _content(path: Path) -> bytes:
    """A file's first MiB; nothing if it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError:
        return b""


def _version(path: Path) -> tuple[int, ...]:
    """What changes with a file; nothing if it cannot be found."""
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
