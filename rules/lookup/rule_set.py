"""Opens the rule set that is installed, whenever it is another one than that in use."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

import lmdb

from inkgate.config.owner import OwnerError
from inkgate.config.settings_file import SettingsError, UnknownSectionError, load_section, resolve
from inkgate.health.monitor import Monitor
from inkgate.rules.crypto.key_cache import KeyCache
from inkgate.rules.crypto.keys import KeyFileError, read_token
from inkgate.rules.errors import PackError
from inkgate.rules.install.install import open_current
from inkgate.rules.install.serials import current_folder
from inkgate.rules.lookup.matcher import Matcher
from inkgate.rules.lookup.remembered import Remembered, Times
from inkgate.rules.lookup.steps import Stretch
from inkgate.rules.lookup.stretching import CachedStretch
from inkgate.rules.lookup.verdict_store import VerdictStore
from inkgate.rules.settings import RulesSettings

# A disk that was full may have room again, and a folder another owner.
_KEY_CACHE_AGAIN_SECONDS: Final = 30.0
_MINUTE: Final = 60.0
_HOUR: Final = 3600.0
_DAY: Final = 86_400.0


class OpenRuleSet(NamedTuple):
    """An open generation.

    Attributes:
        matcher: looks values up in it.
        keys: the stretched values of its epoch.
        key_folder: where the key cache lies.
        remembered: what replies were blocked for.
    """

    matcher: Matcher
    keys: CachedStretch
    key_folder: Path
    remembered: Remembered

    @property
    def set_id(self) -> str:
        """The epoch."""
        return self.matcher.generation.manifest.set_id


class RuleSet:
    """Keeps the current generation open.

    Args:
        config: the settings file.
        cached_keys: stretched values kept in memory.
        key_cache_mib: largest size of the shared key cache on disk.
        monitor: told what cannot be opened, and when it can again.
        now: the time by which rules end, in seconds since 1970.

    Attributes:
        in_use: None until one was opened.
        settings: section `[rules]` as it was last read.

    Nothing here raises: a set that cannot be opened leaves the one in use as it is, and
    is tried again by the next `open_if_new`. For one thread at a time (`Watcher`).
    """

    def __init__(
        self,
        config: Path,
        cached_keys: int,
        key_cache_mib: int,
        monitor: Monitor,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._config = config
        self._cached_keys = cached_keys
        self._key_cache_mib = key_cache_mib
        self._monitor = monitor
        self._now = now
        self._try_key_cache_at = 0.0
        self._has_lost_key_cache = False
        self.settings = RulesSettings()
        self._settings_read: tuple[int, ...] = ()
        self._verdicts: VerdictStore | None = None
        self.in_use: OpenRuleSet | None = None

    def open_if_new(self) -> OpenRuleSet | None:
        """Open the current generation, if it is another one than that in use."""
        try:
            return self._open()
        except (SettingsError, KeyFileError, PackError, OSError, lmdb.Error) as error:
            self.cannot(str(error))
            return None

    def cannot(self, why: str) -> None:
        """Say that the current generation cannot be used."""
        self._monitor.met("rules-not-opened" if self.in_use else "no-rules", why)

    def use(self, new: OpenRuleSet) -> None:
        """Use a generation from now on."""
        # The old generation is closed when its last look-up has ended.
        self.in_use = new
        manifest = new.matcher.generation.manifest
        said = f"serial {manifest.serial}, {manifest.rule_count()} rules, in use"
        self._monitor.over("no-rules", said)
        self._monitor.mended("rule-damaged", said)
        self._monitor.over("rules-not-opened", said)
        self._monitor.state(
            serial=manifest.serial,
            rules=manifest.rule_count(),
            set_id=manifest.set_id,
            created=manifest.created.timestamp(),
            expires=manifest.expires.timestamp(),
        )
        self._monitor.say(
            f"use of {said.removesuffix(', in use')}, made {manifest.created.isoformat()}, "
            f"expires {manifest.expires.isoformat()}"
        )

    def _open(self) -> OpenRuleSet | None:
        settings = self._current_settings()
        root = resolve(self._config, settings.installed)
        folder = current_folder(root)
        if self.in_use and folder == self.in_use.matcher.generation.folder:
            self._monitor.over("rules-not-opened", "the rule set in use is the one installed")
            self._mend_key_cache(self.in_use)
            self.in_use.remembered.times = self._times()
            self.in_use.remembered.store.look(self.in_use.remembered.times.longest)
            return None
        token = read_token(resolve(self._config, settings.token_file))
        generation = open_current(root, settings.caps)
        key_folder = resolve(self._config, settings.key_cache)
        keys: list[CachedStretch] = []

        def cached(derive: Stretch) -> Stretch:
            keys.append(self._keys(derive, generation.manifest.set_id, key_folder))
            return keys[0]

        try:
            matcher = Matcher(generation, token, cached, self._now)
            return OpenRuleSet(matcher, keys[0], key_folder, self._remembered(matcher, key_folder))
        except PackError:
            generation.close()
            raise

    def _current_settings(self) -> RulesSettings:
        # Twice a second for as long as the process lives: the file is only read when it
        # is another one.
        version = _version(self._config)
        if not version or version != self._settings_read:
            self.settings = self._read_settings()
            self._settings_read = version
        return self.settings

    def _read_settings(self) -> RulesSettings:
        try:
            return load_section(self._config, "rules", RulesSettings)
        except UnknownSectionError:
            # It may be this one, misspelt. Only who has none yet takes what there is.
            if self._settings_read:
                return self.settings
            return load_section(self._config, "rules", RulesSettings, alone=True)

    def _keys(self, derive: Stretch, set_id: str, folder: Path) -> CachedStretch:
        # All generations of an epoch have the same keys: they stay in memory over a refresh.
        if self.in_use and self.in_use.set_id == set_id:
            return self.in_use.keys
        disk = self._key_cache(folder, set_id)
        return CachedStretch(derive, disk, self._cached_keys, self._without_key_cache)

    def _remembered(self, matcher: Matcher, folder: Path) -> Remembered:
        # One store for all rule sets: what is remembered counts over a refresh.
        if self._verdicts is None or self._verdicts.folder != folder:
            self._verdicts = VerdictStore(folder, self._monitor)
        return Remembered(self._verdicts, matcher, self._times())

    def _times(self) -> Times:
        settings = self.settings
        return Times(
            server=settings.remember_server_minutes * _MINUTE,
            cache=settings.remember_cache_days * _DAY,
            file=settings.remember_file_hours * _HOUR,
        )

    def _key_cache(self, folder: Path, set_id: str) -> KeyCache | None:
        self._try_key_cache_at = time.monotonic() + _KEY_CACHE_AGAIN_SECONDS
        try:
            disk = KeyCache(folder, set_id, self._key_cache_mib << 20)
            # It may lie on a disk that is full: then each value would fail again.
            disk.try_to_write()
        except (OwnerError, OSError, lmdb.Error) as error:
            self._without_key_cache(error)
            return None
        self._monitor.over("key-cache-failed", f"{folder} can be used")
        return disk

    def _without_key_cache(self, error: Exception, is_lost: bool = False) -> None:
        if is_lost:
            # New files can be made at once.
            self._try_key_cache_at = 0.0
        self._monitor.met("key-cache-failed", f"every new name costs a derivation: {error}")

    def _mend_key_cache(self, opened: OpenRuleSet) -> None:
        """Try a key cache that failed again, now and then; notice one that was removed."""
        is_in_place = opened.keys.is_disk_in_place
        if is_in_place and opened.keys.has_disk:
            # Also what failed last may have been the cache of an epoch that is over.
            self._monitor.over("key-cache-failed", f"{opened.key_folder} can be used")
            self._has_lost_key_cache = False
            return
        if not (is_in_place or self._has_lost_key_cache):
            self._has_lost_key_cache = True
            self._try_key_cache_at = 0.0
            self._monitor.met(
                "key-cache-failed", f"{opened.key_folder}: removed or replaced while in use"
            )
        if time.monotonic() >= self._try_key_cache_at:
            opened.keys.leave_disk()
            disk = self._key_cache(opened.key_folder, opened.set_id)
            if disk is not None:
                opened.keys.attach(disk)


def _version(path: Path) -> tuple[int, ...]:
    """What changes with a file's content; nothing if the file cannot be found."""
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_ino, found.st_size, found.st_mtime_ns
