"""Files and folders that others read: seen whole or not at all, also after a power cut.

A file is written aside, in the folder where it belongs, flushed to the disk, and renamed
to its name; then the folder is flushed. Whoever reads sees the old file or all of the new
one. What a killed writer leaves aside is removed by `remove_unfinished`: who still writes
holds a lock on it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Final

from inkgate.config.locks import try_lock
from inkgate.config.modes import open_folder, set_file_mode, set_folder_mode, sync_folder

_ASIDE: Final = re.compile(r"\.(.+)\.[0-9a-f]{16}\.part", re.DOTALL)
# A link cannot be locked, and making one takes no time.
_OLD_LINK_SECONDS: Final = 3600.0


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Let errors in the `with` say which file they are about.

    Raises:
        OSError: with the path, where one without was raised, and in place of what LMDB and
            SQLite raise.
    """
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno is not None:
            error.filename = str(path)
        raise
    except Exception as error:
        if not _is_of_a_database(error):
            raise
        number = errno.EIO if _has_room(path) else errno.ENOSPC
        raise OSError(number, f"{os.strerror(number)} ({error})", str(path)) from error


def write_whole(path: Path, data: bytes | Iterable[bytes | bytearray], mode: int) -> None:
    """Write a file, or put another one in its place.

    Raises:
        OSError: it cannot be written; the old file is there as it was.
    """
    with writing_whole(path, mode) as file:
        file.writelines([data] if isinstance(data, bytes) else data)


@contextlib.contextmanager
def writing_whole(path: Path, mode: int, *, flush_folder: bool = True) -> Iterator[BinaryIO]:
    """A file to write to, which gets its name when the `with` ends without an exception.

    Its attribute `name` is the path at which it lies until then.

    Args:
        flush_folder: False for one of many files, whose folder the caller flushes at the
            end (`modes.sync_folder`); until then a power cut may bring the old file back.

    Raises:
        OSError: it cannot be written; the old file is there as it was.
    """
    with naming(path), _aside(path, mode) as file:
        yield file
        _flush(file)
        os.replace(file.name, path)  # noqa: PTH105 (a name as the file has it)
    if flush_folder:
        sync_folder(path.parent)


def create_once(path: Path, data: bytes, mode: int, *, owner_of: Path | None = None) -> bool:
    """Make a file with all of its content, unless it exists. Whether it was made here.

    Written aside and linked (link(2) never replaces): whoever comes second, and whoever
    looks after a kill in the middle, sees all of the file or none. Keys are made so.

    Args:
        owner_of: a folder; made by root, the file belongs to that folder's owner and group.

    Raises:
        OSError: it can neither be made nor found.
    """
    remove_unfinished(path.parent, path.name)
    if path.exists():
        return False
    with naming(path), _aside(path, mode, owner_of=owner_of) as file:
        file.write(data)
        _flush(file)
        try:
            os.link(file.name, path)
        except FileExistsError:
            return False
    sync_folder(path.parent)
    return True


@contextlib.contextmanager
def writing_new(path: Path, mode: int) -> Iterator[BinaryIO]:
    """A new file to write to, flushed to the disk when the `with` ends.

    For a folder that nobody reads yet (`new_folder`): a kill leaves half of it.

    Raises:
        OSError: there is one, or it cannot be written.
    """
    with naming(path), _open_new(path) as file:
        set_file_mode(file.fileno(), mode)
        yield file
        _flush(file)


@contextlib.contextmanager
def new_folder(path: Path, mode: int) -> Iterator[Path]:
    """A folder to fill, which gets its name when the `with` ends without an exception.

    Files in it are to be written with `writing_new`. What lay there before is removed:
    it must be nothing that anybody uses.

    Raises:
        OSError: it cannot be made; nothing is left of it.
    """
    aside, fd = _open_folder_aside(path)
    try:
        yield aside
        set_folder_mode(fd, mode)
        for folder, _, _ in os.walk(aside):
            sync_folder(Path(folder))
        if path.exists():
            remove_folder(path)
        aside.rename(path)
    except BaseException:
        remove_folder(aside, ignore_errors=True)
        raise
    finally:
        os.close(fd)
    sync_folder(path.parent)


def swap_link(link: Path, target: Path) -> None:
    """Point a symbolic link at a sibling atomically: rename(2) replaces it in one step."""
    aside = _name_aside(link)
    aside.symlink_to(os.path.relpath(target, link.parent))
    aside.replace(link)
    sync_folder(link.parent)


def remove_folder(path: Path, *, ignore_errors: bool = False) -> None:
    """Remove a folder with all that is in it.

    Raises:
        OSError: some of it cannot be removed, and `ignore_errors` is not set.
    """
    # Imported here: it loads all formats of archives, and a helper removes no folder.
    import shutil  # noqa: PLC0415

    shutil.rmtree(path, ignore_errors=ignore_errors)


def remove_unfinished(folder: Path, name: str | None = None) -> None:
    """Remove what killed writers left in a folder; what is being written stays.

    Args:
        name: only what was to become the file of this name.
    """
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            match = _ASIDE.fullmatch(entry.name)
            if match and name in (None, match[1]):
                _remove_if_left(Path(entry.path), is_link=entry.is_symlink())


def _is_of_a_database(error: Exception) -> bool:
    # A library that was never imported has raised nothing, and importing it costs time.
    kinds = (getattr(sys.modules.get(name), "Error", None) for name in ("lmdb", "sqlite3"))
    return any(kind is not None and isinstance(error, kind) for kind in kinds)


def _has_room(path: Path) -> bool:
    """Whether another block can be written where a path lies."""
    try:
        return os.statvfs(path if path.exists() else path.parent).f_bavail > 0
    except OSError:
        return True


def _name_aside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.urandom(8).hex()}.part")


@contextlib.contextmanager
def _aside(path: Path, mode: int, *, owner_of: Path | None = None) -> Iterator[BinaryIO]:
    """A file beside its place; whatever is left of it in the end is removed."""
    file = _open_aside(path)
    try:
        with file:
            set_file_mode(file.fileno(), mode, owner_of=owner_of)
            yield file
    finally:
        Path(file.name).unlink(missing_ok=True)


def _open_aside(path: Path) -> BinaryIO:
    while True:
        file = _open_new(_name_aside(path))
        if _is_ours(file.fileno()):
            return file
        file.close()


def _open_folder_aside(path: Path) -> tuple[Path, int]:
    while True:
        aside = _name_aside(path)
        aside.mkdir(mode=0o700)
        fd = open_folder(aside)
        if _is_ours(fd):
            return aside, fd
        os.close(fd)


def _is_ours(fd: int) -> bool:
    """Whether what was made aside is locked now, before anybody took it for left behind."""
    try:
        return try_lock(fd) and os.fstat(fd).st_nlink > 0
    except OSError:
        # A file system without locks, where nothing is ever taken for left behind.
        return True


def _open_new(path: Path) -> BinaryIO:
    # Nobody else can open it before it has its mode, also where others may write.
    return open(path, "xb", opener=_private)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def _flush(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _remove_if_left(path: Path, *, is_link: bool) -> None:
    with contextlib.suppress(OSError):
        if is_link:
            if time.time() - path.lstat().st_mtime > _OLD_LINK_SECONDS:
                path.unlink()
            return
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            if not try_lock(fd):
                return
            if path.is_dir():
                remove_folder(path)
            else:
                path.unlink()
        finally:
            os.close(fd)
