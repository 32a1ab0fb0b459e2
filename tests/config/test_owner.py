"""Who decides what lies at a path, and doing things as that user."""

from __future__ import annotations

import fcntl
import os
import pty
import pwd
import shutil
import subprocess
import tempfile
import termios
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from inkgate.config.owner import (
    OwnerError,
    as_owner,
    become_owner,
    other_owner,
    refuse_other_owner,
)
from support.sabotage import forked

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
USER = "proxy"


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that everybody may enter, with one of another user in it."""
    made = Path(tempfile.mkdtemp(prefix="inkgate-owner-"))
    made.chmod(0o755)
    (made / "run").mkdir()
    shutil.chown(made / "run", USER)
    yield made
    shutil.rmtree(made)


def name_of(path: Path) -> str | None:
    owner = other_owner(path)
    return owner.name if owner else None


def test_first_folder_of_another_user_decides(folder: Path) -> None:
    below = folder / "run" / "below"
    below.mkdir()  # root's own
    assert name_of(folder) is None
    assert name_of(folder / "run") == USER
    assert name_of(below) == USER
    assert name_of(below / "not-there") == USER
    assert name_of(folder / "not-there") is None
    assert name_of(folder / "run" / ".." / "not-there") == USER


def test_links_of_root_are_followed_and_those_of_others_are_not(folder: Path) -> None:
    (folder / "way").symlink_to("run")
    assert name_of(folder / "way" / "below") == USER
    (folder / "etc").symlink_to("/etc")
    assert name_of(folder / "etc" / "passwd") is None
    (folder / "run" / "etc").symlink_to("/etc")
    assert name_of(folder / "run" / "etc") == USER
    (folder / "his").symlink_to("/etc")
    os.chown(folder / "his", pwd.getpwnam(USER).pw_uid, 0, follow_symlinks=False)
    assert name_of(folder / "his") == USER
    (folder / "loop").symlink_to("loop")
    with pytest.raises(OwnerError, match="too many links"):
        other_owner(folder / "loop")


@pytest.mark.parametrize(
    ("mode", "group", "refused"),
    [
        (0o775, "proxy", True),
        (0o757, "root", True),
        (0o777, "root", True),
        (0o775, "root", False),
        (0o1777, "root", True),
        (0o755, "proxy", False),
    ],
)
def test_shared_folders_are_refused(folder: Path, mode: int, group: str, refused: bool) -> None:
    shared = folder / "shared"
    shared.mkdir()
    shutil.chown(shared, "root", group)
    shared.chmod(mode)
    if refused:
        with pytest.raises(OwnerError, match="chmod go-w"):
            other_owner(shared)
    else:
        assert other_owner(shared) is None


def test_what_root_made_in_a_folder_with_the_sticky_bit_is_roots(folder: Path) -> None:
    shared = folder / "tmp"
    (shared / "mine").mkdir(parents=True)
    (shared / "his").mkdir()
    shutil.chown(shared / "his", USER)
    shared.chmod(0o1777)
    assert other_owner(shared / "mine") is None
    assert name_of(shared / "his") == USER


def ids() -> tuple[object, ...]:
    return os.getresuid(), os.getresgid(), sorted(os.getgroups())


def test_as_owner_goes_there_and_back(folder: Path) -> None:
    before = ids()
    found = pwd.getpwnam(USER)
    with as_owner(folder / "run"):
        assert (os.geteuid(), os.getegid()) == (found.pw_uid, found.pw_gid)
        assert 0 not in os.getgroups()
        (folder / "run" / "made").touch()
        with pytest.raises(PermissionError):
            (folder / "made").touch()
        with as_owner(folder):
            assert os.geteuid() == found.pw_uid
    assert ids() == before
    assert (folder / "run" / "made").stat().st_uid == found.pw_uid
    with pytest.raises(ZeroDivisionError), as_owner(folder / "run"):
        raise ZeroDivisionError
    assert ids() == before
    with as_owner(folder):
        assert ids() == before


def test_become_owner_is_for_good(folder: Path) -> None:
    def work() -> None:
        become_owner(folder / "run")
        found = pwd.getpwnam(USER)
        assert os.getresuid() == (found.pw_uid,) * 3
        assert os.getresgid() == (found.pw_gid,) * 3
        assert 0 not in os.getgroups()
        with pytest.raises(PermissionError):
            os.setuid(0)
        # Whoever owns the folder must not look into a process that has read root's secrets.
        assert Path("/proc/self/mem").stat().st_uid == 0

    done = forked(work)
    assert done.status == 0, done.stderr


def test_who_became_owner_has_left_the_terminal(folder: Path) -> None:
    """Whoever owns the folder may hold what is started from then on, and type by it."""
    pid, terminal = pty.fork()
    if pid == 0:
        # A shell in between, as root has one: it stays the terminal's leader.
        done = forked(lambda: _held_by_terminal(folder / "run"))
        os._exit(done.status if done.status in (0, 1) else 70)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    os.close(terminal)


def _held_by_terminal(owned: Path) -> None:
    os.close(os.open("/dev/tty", os.O_RDWR))
    become_owner(owned)
    opened = subprocess.run(["/bin/sh", "-c", "exec 3<>/dev/tty"], capture_output=True, check=False)
    assert opened.returncode != 0
    # Nor through what was inherited.
    with pytest.raises(OSError, match=r"not permitted|Input/output"):
        fcntl.ioctl(0, termios.TIOCSTI, b"x")


def test_folders_of_several_users_are_refused(folder: Path) -> None:
    (folder / "other").mkdir()
    shutil.chown(folder / "other", "nobody")
    for folders in ((folder / "run", folder / "other"), (folder / "run", folder)):
        with pytest.raises(OwnerError, match="different users"):
            become_owner(*folders)
    assert os.geteuid() == 0


def test_root_opens_nothing_by_path_in_such_a_folder(folder: Path) -> None:
    refuse_other_owner(folder)
    with pytest.raises(OwnerError, match=f"runuser -u {USER}"):
        refuse_other_owner(folder / "run" / "below")
    done = forked(lambda: refuse_other_owner(folder / "run"), USER)
    assert done.status == 0, done.stderr


def test_threads_do_not_meet_in_another_user(folder: Path) -> None:
    """A thread that is the owner is not made root by one that comes back."""
    seen: list[int] = []
    entered, leave = threading.Event(), threading.Event()

    def first() -> None:
        with as_owner(folder / "run"):
            entered.set()
            leave.wait(10)

    def second() -> None:
        entered.wait(10)
        with as_owner(folder / "run"):
            seen.append(os.geteuid())

    threads = [threading.Thread(target=work) for work in (first, second)]
    for thread in threads:
        thread.start()
    entered.wait(10)
    leave.set()
    for thread in threads:
        thread.join(10)
    assert seen == [pwd.getpwnam(USER).pw_uid]
    assert os.geteuid() == 0
