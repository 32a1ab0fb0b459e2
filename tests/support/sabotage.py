"""What a user does with the files of a folder of his own, so that root does it to others.

For tests that run as root: commands run in forked processes, whose modules are loaded
already, so that thousands of cases take a minute.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pwd
import shutil
import signal
import socket
import stat
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

HANG_SECONDS: Final = 30


class Done(NamedTuple):
    """How a command ended. `status` is negative for a signal, as subprocess has it."""

    status: int
    stdout: str
    stderr: str


def forked(work: Callable[[], object], user: str | None = None) -> Done:
    """Run something in a process of its own, as another user if asked, and for a bounded time."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        pid = os.fork()
        if pid == 0:
            _child(work, user, out.fileno(), err.fileno())
        _, status = os.waitpid(pid, 0)
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode("utf-8", "replace"))
    return Done(os.waitstatus_to_exitcode(status), *texts)


def _child(work: Callable[[], object], user: str | None, out: int, err: int) -> None:
    status = 70
    try:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(HANG_SECONDS)
        os.dup2(out, 1)
        os.dup2(err, 2)
        sys.stdout = os.fdopen(1, "w", closefd=False)
        sys.stderr = os.fdopen(2, "w", closefd=False)
        if user is not None:
            become(user)
        try:
            work()
            status = 0
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
        except BaseException:  # noqa: BLE001 (the test sees it)
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(status)


def become(user: str) -> None:
    """Become another user for good."""
    found = pwd.getpwnam(user)
    os.setgroups([found.pw_gid])
    os.setresgid(*[found.pw_gid] * 3)
    os.setresuid(*[found.pw_uid] * 3)


def _link(target: str) -> Callable[[Path, Path], None]:
    def make(path: Path, outside: Path) -> None:
        path.symlink_to(outside / target)

    return make


def _socket(path: Path, _: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        # The name of a socket may have 107 bytes.
        os.chdir(path.parent)
        made.bind(path.name)


def _full_folder(path: Path, outside: Path) -> None:
    path.mkdir()
    (path / "installation.key").symlink_to(outside / "secret")
    (path / "below").mkdir()
    (path / "below" / "x.mdb").symlink_to(outside / "secret")
    (path / "inkgate-helper-1-00000000.counters").symlink_to(outside / "secret")


def _unreadable(path: Path, _: Path) -> None:
    path.write_bytes(b"x")
    path.chmod(0)


def _fifo(path: Path, _: Path) -> None:
    os.mkfifo(path)


def _read_only_fifo(path: Path, _: Path) -> None:
    os.mkfifo(path, 0o400)


def _folder(path: Path, _: Path) -> None:
    path.mkdir()


def _garbage(path: Path, _: Path) -> None:
    path.write_bytes(os.urandom(8192))


def _loop(path: Path, _: Path) -> None:
    path.symlink_to(path.name)


KINDS: Final[dict[str, Callable[[Path, Path], None]]] = {
    "link-to-secret": _link("secret"),
    "link-to-public": _link("public"),
    "link-to-folder": _link("rules"),
    "link-to-nothing": _link("new"),
    "link-to-nothing-below": _link("rules/new"),
    "link-to-device": lambda path, _: path.symlink_to("/dev/zero"),
    "link-to-itself": _loop,
    "fifo": _fifo,
    "fifo-read-only": _read_only_fifo,
    "socket": _socket,
    "folder": _folder,
    "full-folder": _full_folder,
    "garbage": _garbage,
    "unreadable": _unreadable,
}


def replace(path: Path, kind: str, outside: Path, user: str) -> None:
    """Put something of another kind in a file's place, with that user's rights alone."""

    def work() -> None:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
        KINDS[kind](path, outside)

    done = forked(work, user)
    assert done.status == 0, done.stderr


def snapshot(*folders: Path, leave_out: tuple[Path, ...] = ()) -> dict[str, tuple[object, ...]]:
    """All that lies in some folders: type, mode, owner, content."""
    found: dict[str, tuple[object, ...]] = {}
    for folder in folders:
        for place, names, files in os.walk(folder):
            names[:] = [name for name in names if Path(place, name) not in leave_out]
            for name in (*names, *files):
                path = Path(place, name)
                found[str(path)] = _described(path)
    return found


def _described(path: Path) -> tuple[object, ...]:
    about = path.lstat()
    content = ""
    if stat.S_ISREG(about.st_mode):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
    elif stat.S_ISLNK(about.st_mode):
        content = str(path.readlink())
    return about.st_mode, about.st_uid, about.st_gid, content


def give(folder: Path, user: str) -> None:
    """Give a folder with all that is in it to a user."""
    found = pwd.getpwnam(user)
    for path in (folder, *folder.rglob("*")):
        with contextlib.suppress(FileNotFoundError):
            os.chown(path, found.pw_uid, found.pw_gid, follow_symlinks=False)
