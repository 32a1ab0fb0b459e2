"""The launcher: what Squid starts, so that a helper that cannot start does not end Squid.

Its two files are copied out of the package to a folder of root's: what an upgrade of
Python or a removed package takes away must not take them away, too.
"""

from __future__ import annotations

import os
from importlib.resources import files
from pathlib import Path
from typing import Final, NamedTuple

from inkgate.config.modes import make_folder
from inkgate.config.whole_file import write_whole

LAUNCHER: Final = "inkgate-launch"
FAIL: Final = "fail"
PROGRAMS: Final = (LAUNCHER, "inkgate-standby")
_FOLDER_MODE: Final = 0o755
_PROGRAM_MODE: Final = 0o755
_FILE_MODE: Final = 0o644


class Launching(NamedTuple):
    """How Squid starts the helper.

    Attributes:
        folder: where the launcher's copy lies.
        helper: the command inkgate-helper.
        config: inkgate.toml.
    """

    folder: Path
    helper: Path
    config: Path

    def words(self) -> list[str]:
        """The program and its arguments."""
        return [str(self.folder / LAUNCHER), str(self.helper), str(self.config)]


def place_launcher(folder: Path, fail: str) -> bool:
    """Copy the launcher into a folder, unless the same files are there; whether it did.

    Args:
        folder: made if it is not there, for root alone to change.
        fail: what is answered while neither the helper can start nor the settings can be
            read. Settings that can be read count at once, without this.

    Raises:
        OSError: the folder cannot be written.
    """
    contents = _contents(fail)
    if all(_is_same(folder / name, data, mode) for name, (data, mode) in contents.items()):
        return False
    make_folder(folder, _FOLDER_MODE)
    for name, (data, mode) in contents.items():
        write_whole(folder / name, data, mode)
    return True


def is_placed(folder: Path) -> bool:
    """Whether the launcher of this version lies there, as nobody but its owner may change it."""
    return all(
        _is_same(folder / name, data, mode)
        for name, (data, mode) in _contents("").items()
        if name != FAIL
    )


def _contents(fail: str) -> dict[str, tuple[bytes, int]]:
    package = files("inkgate.squid_conf").joinpath("launcher")
    programs = {name: (package.joinpath(name).read_bytes(), _PROGRAM_MODE) for name in PROGRAMS}
    return {**programs, FAIL: (f"{fail}\n".encode(), _FILE_MODE)}


def _is_same(path: Path, data: bytes, mode: int) -> bool:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    with os.fdopen(fd, "rb") as file:
        return file.read(len(data) + 1) == data and os.fstat(fd).st_mode & 0o7777 == mode
