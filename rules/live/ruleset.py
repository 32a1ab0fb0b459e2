"""The rule set in use: opened at start, exchanged when a new generation is published."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import lmdb

from rules.errors import PackError
from rules.install import current_folder, open_current
from rules.keycache import KeyCache
from rules.keys import KeyFileError, read_token
from rules.live.stretching import CachedStretch
from rules.matcher import Matcher, Stretch
from rules.settings import RulesSettings, SettingsError, load_section, resolve

CHECK_SECONDS: Final = 0.5

Log = Callable[[str], None]


class RuleSet:
    """Keeps a matcher for the current generation.

    Args:
        config: the settings file.
        cached_keys: stretched values kept in memory.
        key_cache_mib: largest size of the shared key cache on disk.
        log: takes one line; the same line is not repeated in a row.

    Nothing here raises: a set that cannot be opened leaves `matcher` as it is (None
    at first), and is tried again at the next check.
    """

    def __init__(self, config: Path, cached_keys: int, key_cache_mib: int, log: Log) -> None:
        self._config = config
        self._cached_keys = cached_keys
        self._key_cache_mib = key_cache_mib
        self._log = log
        self._said = ""
        self._next_check = 0.0
        self._folder: Path | None = None
        self._keys: tuple[str, KeyCache | None] = ("", None)
        self.matcher: Matcher | None = None

    def fresh(self) -> bool:
        """Look for a new generation if it is time to. True if the matcher changed."""
        now = time.monotonic()
        if now < self._next_check:
            return False
        self._next_check = now + CHECK_SECONDS
        try:
            return self._update()
        except (SettingsError, KeyFileError, PackError, OSError, lmdb.Error) as error:
            self._say(str(error))
            return False

    def _update(self) -> bool:
        settings = load_section(self._config, "rules", RulesSettings)
        root = resolve(self._config, settings.installed)
        folder = current_folder(root)
        if folder is not None and folder == self._folder:
            return False
        token = read_token(resolve(self._config, settings.token_file))
        generation = open_current(root, settings.caps)
        keys = self._key_cache(
            resolve(self._config, settings.key_cache), generation.manifest.set_id
        )
        limit = self._cached_keys

        def cached(derive: Stretch) -> Stretch:
            return CachedStretch(derive, keys, limit)

        try:
            self.matcher = Matcher(generation, token, cached)
        except PackError:
            generation.close()
            raise
        # The old generation is closed when the last lookup in it lets go of it.
        self._folder = generation.folder
        self._said = ""
        return True

    def _key_cache(self, folder: Path, set_id: str) -> KeyCache | None:
        if self._keys[0] == set_id:
            return self._keys[1]
        try:
            keys = KeyCache(folder, set_id, self._key_cache_mib << 20)
        except (OSError, lmdb.Error) as error:
            self._log(f"no key cache, every new name costs a derivation: {error}")
            keys = None
        self._keys = (set_id, keys)
        return keys

    def _say(self, text: str) -> None:
        if text != self._said:
            self._said = text
            self._log(text)
