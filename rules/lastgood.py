"""The last good copy of every source file.

A source file that is cut off tonight must not unblock what it listed yesterday.
The copies hold clear indicators and stay with the publisher.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from rules.sources.attribute import Attribute
from rules.sources.files import read_file
from rules.sources.unreadable import Unreadable


class LastGood:
    """Reads source files, falling back to their last readable version.

    Args:
        folder: where the copies lie (mode 0700).
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def read(self, path: Path) -> tuple[list[Attribute], Unreadable | None]:
        """The file's attributes, and what is wrong with it if they come from the copy."""
        copy = self._copy_of(path)
        try:
            attributes = list(read_file(path))
        except Unreadable as fault:
            if not copy.exists():
                return [], fault
            return list(read_file(copy)), fault
        self._keep(path, copy)
        return attributes, None

    def forget_others(self, paths: Iterable[Path]) -> None:
        """Remove copies of files that are gone: they were taken away on purpose."""
        kept = {self._copy_of(path).name for path in paths}
        for copy in self._folder.iterdir():
            if copy.name not in kept:
                with contextlib.suppress(OSError):
                    copy.unlink()

    def _copy_of(self, path: Path) -> Path:
        name = hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:32]
        return self._folder / (name + path.suffix)

    def _keep(self, path: Path, copy: Path) -> None:
        now = path.stat()
        with contextlib.suppress(FileNotFoundError):
            then = copy.stat()
            if (then.st_size, then.st_mtime_ns) == (now.st_size, now.st_mtime_ns):
                return
        temporary = copy.with_name("." + copy.name)
        shutil.copy2(path, temporary)
        temporary.chmod(0o600)
        temporary.replace(copy)
