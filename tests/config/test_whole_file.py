"""A file is there as it was or as it shall be: after faults, kills and beside other writers."""

from __future__ import annotations

import contextlib
import fcntl
import multiprocessing
import os
import signal
import stat
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from inkgate.config.modes import make_folder, sync_folder
from inkgate.config.whole_file import (
    create_once,
    new_folder,
    remove_unfinished,
    swap_link,
    write_whole,
    writing_new,
    writing_whole,
)

UMASKS = (0o077, 0o002, 0o000)
CHANGES = frozenset(("open", "os.rename", "os.remove", "os.mkdir", "os.symlink", "os.link"))


@contextlib.contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def listed(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("mask", UMASKS)
@pytest.mark.parametrize("wanted", [0o600, 0o640, 0o644])
def test_files_have_the_mode_they_are_given(tmp_path: Path, mask: int, wanted: int) -> None:
    with umask(mask):
        write_whole(tmp_path / "whole", b"x", wanted)
        create_once(tmp_path / "once", b"x", wanted)
        with writing_new(tmp_path / "new", wanted) as file:
            file.write(b"x")
    assert {path.name: mode(path) for path in tmp_path.iterdir()} == {
        "whole": wanted, "once": wanted, "new": wanted
    }  # fmt: skip


@pytest.mark.parametrize("mask", UMASKS)
def test_folders_have_the_mode_they_are_given(tmp_path: Path, mask: int) -> None:
    tmp_path.chmod(0o2770)
    with umask(mask):
        make_folder(tmp_path / "a" / "b" / "c", 0o700)
        with new_folder(tmp_path / "d", 0o2750) as aside:
            assert mode(aside) & 0o777 == 0o700
    assert [mode(tmp_path / name) for name in ("a", "a/b", "a/b/c", "d")] == [
        0o2755, 0o2755, 0o2700, 0o2750
    ]  # fmt: skip


def test_folder_that_is_there_keeps_its_mode(tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    (tmp_path / "made").chmod(0o711)
    make_folder(tmp_path / "made", 0o700)
    assert mode(tmp_path / "made") == 0o711
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError):
        make_folder(tmp_path / "file", 0o700)


def test_file_is_flushed_then_renamed_then_its_folder_is_flushed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []

    def noted(name: str, real: Callable[..., None], about: Callable[..., str]) -> None:
        def call(*arguments: object) -> None:
            done.append(f"{name} {about(*arguments)}")
            real(*arguments)

        monkeypatch.setattr(os, name, call)

    noted("fsync", os.fsync, lambda fd: _kind(Path(f"/proc/self/fd/{fd}").readlink()))
    noted("replace", os.replace, lambda source, _: _kind(Path(source)))
    noted("rename", os.rename, lambda source, _: _kind(Path(source)))
    noted("link", os.link, lambda source, _: _kind(Path(source)))
    write_whole(tmp_path / "a", b"x", 0o600)
    assert done == ["fsync aside", "replace aside", "fsync folder"]
    done.clear()
    with writing_whole(tmp_path / "a", 0o600, flush_folder=False):
        pass
    assert done == ["fsync aside", "replace aside"]
    done.clear()
    create_once(tmp_path / "b", b"x", 0o600)
    assert done == ["fsync aside", "link aside", "fsync folder"]
    done.clear()
    with new_folder(tmp_path / "c", 0o700) as aside:
        (aside / "in").mkdir()
        with writing_new(aside / "in" / "d", 0o600) as file:
            file.write(b"x")
    assert done == ["fsync file", "fsync aside", "fsync folder", "rename aside", "fsync folder"]


def _kind(path: Path) -> str:
    return "aside" if path.suffix == ".part" else "folder" if path.is_dir() else "file"


def test_exception_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    write_whole(tmp_path / "a", b"old", 0o600)
    with pytest.raises(ZeroDivisionError):
        write_whole(tmp_path / "a", (b"x" * 9999 if n else b"%d" % (1 // n) for n in (1, 0)), 0o600)
    with pytest.raises(ZeroDivisionError), new_folder(tmp_path / "b", 0o700) as aside:
        (aside / str(1 // len(listed(aside)))).touch()
    assert listed(tmp_path) == ["a"]
    assert (tmp_path / "a").read_bytes() == b"old"


def test_file_that_is_there_is_not_made_again(tmp_path: Path) -> None:
    assert create_once(tmp_path / "a", b"first", 0o600)
    assert not create_once(tmp_path / "a", b"second", 0o600)
    assert (tmp_path / "a").read_bytes() == b"first"
    assert listed(tmp_path) == ["a"]


def test_hundred_at_once_make_one_file(tmp_path: Path) -> None:
    with multiprocessing.get_context("fork").Pool(8) as pool:
        made = pool.starmap(create_once, [(tmp_path / "a", b"%d" % n, 0o600) for n in range(100)])
    assert made.count(True) == 1
    assert (tmp_path / "a").read_bytes() == b"%d" % made.index(True)
    assert listed(tmp_path) == ["a"]


def test_links_are_swapped(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        swap_link(tmp_path / "current", tmp_path / name)
        assert (tmp_path / "current").resolve() == tmp_path / name
    assert listed(tmp_path) == ["current", "one", "two"]


def test_folder_replaces_what_a_killed_run_left(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "old").touch()
    with new_folder(tmp_path / "a", 0o700) as aside:
        (aside / "new").touch()
    assert listed(tmp_path / "a") == ["new"]


def test_owner_of_a_file_that_root_makes(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root makes files for others")
    os.chown(tmp_path, 12345, 12346)
    create_once(tmp_path / "theirs", b"", 0o640, owner_of=tmp_path)
    create_once(tmp_path / "ours", b"", 0o640)
    made = (tmp_path / "theirs").stat()
    assert (made.st_uid, made.st_gid, mode(tmp_path / "theirs")) == (12345, 12346, 0o640)
    assert (tmp_path / "ours").stat().st_uid == 0


def _old_and_new(folder: Path) -> None:
    write_whole(folder / "file", b"new" * 9999, 0o600)
    create_once(folder / "key", b"key" * 9999, 0o600)
    with new_folder(folder / "folder", 0o700) as aside, writing_new(aside / "a", 0o600) as file:
        file.write(b"all" * 9999)
    swap_link(folder / "link", folder / "folder")


def _killed_before(point: int, folder: Path) -> None:
    left = point

    def count(event: str, details: tuple[object, ...]) -> None:
        nonlocal left
        if event in CHANGES and (event != "open" or _is_writing(details[2])):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)
    _old_and_new(folder)


def _is_writing(flags: object) -> bool:
    return isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR))


@pytest.mark.slow
def test_kill_at_every_change_leaves_old_or_new(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    seen: set[tuple[bool, ...]] = set()
    for point in range(1, 100):
        folder = tmp_path / str(point)
        folder.mkdir()
        write_whole(folder / "file", b"old", 0o600)
        swap_link(folder / "link", folder / "file")
        process = context.Process(target=_killed_before, args=(point, folder))
        process.start()
        process.join()
        seen.add(tuple(_whole(folder)))
        _old_and_new(folder)
        assert all(_whole(folder))
        for path in folder.glob(".link.*"):
            os.utime(path, (0, 0), follow_symlinks=False)
        remove_unfinished(folder)
        assert listed(folder) == ["file", "folder", "key", "link"]
        if process.exitcode == 0:
            break
    else:
        pytest.fail("it never came to its end")
    # Each of the four was seen old and new.
    assert {(False,) * 4, (True,) * 4, (True, False, False, False)} <= seen
    assert point > 10


def _whole(folder: Path) -> Iterator[bool]:
    """Which of the four are new; fails if one of them is neither old nor new."""
    content = (folder / "file").read_bytes()
    assert content in (b"old", b"new" * 9999)
    yield content != b"old"
    key = folder / "key"
    assert not key.exists() or key.read_bytes() == b"key" * 9999
    yield key.exists()
    filled = folder / "folder"
    assert not filled.exists() or (filled / "a").read_bytes() == b"all" * 9999
    yield filled.exists()
    target = (folder / "link").resolve()
    assert target in (folder / "file", folder / "folder")
    yield target.name == "folder"


def test_what_is_being_written_is_not_removed(tmp_path: Path) -> None:
    with writing_whole(tmp_path / "a", 0o600) as file, new_folder(tmp_path / "b", 0o700) as aside:
        file.write(b"x")
        remove_unfinished(tmp_path)
        assert aside.is_dir()
    assert (tmp_path / "a").read_bytes() == b"x"
    assert listed(tmp_path) == ["a", "b"]


def test_only_what_writers_leave_is_removed(tmp_path: Path) -> None:
    mine = [".a.part", ".a.0123456789abcde.part", "a.0123456789abcdef.part", ".0123456789abcdef"]
    for name in [*mine, ".a.0123456789abcdef.part", ".b.0123456789abcdef.part"]:
        (tmp_path / name).touch()
    (tmp_path / ".c.0123456789abcdef.part").mkdir()
    (tmp_path / ".d.0123456789abcdef.part").symlink_to("a")
    remove_unfinished(tmp_path, "a")
    assert ".a.0123456789abcdef.part" not in listed(tmp_path)
    remove_unfinished(tmp_path)
    # A link may be on its way to its name.
    assert listed(tmp_path) == sorted([*mine, ".d.0123456789abcdef.part"])
    remove_unfinished(tmp_path / "nowhere")


def test_writer_whose_file_was_taken_for_left_behind_makes_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between making a file and locking it, somebody else tidies up."""
    real, tidied = fcntl.flock, []

    def late(fd: int, operation: int) -> None:
        if not tidied:
            tidied.append(listed(tmp_path))
            monkeypatch.setattr(fcntl, "flock", real)
            remove_unfinished(tmp_path)
            monkeypatch.setattr(fcntl, "flock", late)
        real(fd, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    write_whole(tmp_path / "a", b"x", 0o600)
    assert len(tidied[0]) == 1
    assert (tmp_path / "a").read_bytes() == b"x"
    assert listed(tmp_path) == ["a"]


def test_file_system_without_locks_and_without_flushing_of_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.fsync

    def no_lock(_fd: int, _operation: int) -> None:
        raise OSError(95, "Operation not supported")

    def no_folders(fd: int) -> None:
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            raise OSError(22, "Invalid argument")
        real(fd)

    monkeypatch.setattr(fcntl, "flock", no_lock)
    monkeypatch.setattr(os, "fsync", no_folders)
    (tmp_path / ".a.0123456789abcdef.part").touch()
    write_whole(tmp_path / "a", b"x", 0o600)
    remove_unfinished(tmp_path)
    assert listed(tmp_path) == [".a.0123456789abcdef.part", "a"]

    def broken(_fd: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(OSError, match="Input/output"):
        sync_folder(tmp_path)


def test_nobody_else_can_open_a_private_file_before_it_has_its_mode(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    real = os.fchmod

    def noted(fd: int, wanted: int) -> None:
        seen.append(stat.S_IMODE(os.fstat(fd).st_mode))
        real(fd, wanted)

    monkeypatch.setattr(os, "fchmod", noted)
    with umask(0):
        write_whole(tmp_path / "a", b"x", 0o644)
    assert seen == [0o600]
    assert mode(tmp_path / "a") == 0o644


def test_writing_never_follows_a_link_or_a_file_that_is_there(tmp_path: Path) -> None:
    (tmp_path / "victim").write_bytes(b"victim")
    (tmp_path / "a").symlink_to("victim")
    write_whole(tmp_path / "a", b"x", 0o600)
    assert not (tmp_path / "a").is_symlink()
    for name in ("victim", "link"):
        if name == "link":
            (tmp_path / "link").symlink_to("nowhere")
        with pytest.raises(FileExistsError), writing_new(tmp_path / name, 0o600):
            pass
    assert (tmp_path / "victim").read_bytes() == b"victim"
    assert time.time() - (tmp_path / "a").stat().st_mtime < 60


def test_folder_exchanged_for_a_link_gives_nothing_else_its_mode(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever owns the folder above can do this at any moment between two system calls."""
    victim = tmp_path / "victim"
    victim.mkdir(mode=0o700)
    real = Path.mkdir

    def exchanged(path: Path, *arguments: int, **named: int) -> None:
        real(path, *arguments, **named)
        path.rmdir()
        path.symlink_to(victim)

    monkeypatch.setattr(Path, "mkdir", exchanged)
    with pytest.raises(NotADirectoryError):
        make_folder(tmp_path / "made", 0o755)
    with pytest.raises(NotADirectoryError), new_folder(tmp_path / "filled", 0o755):
        pass
    monkeypatch.undo()
    with new_folder(tmp_path / "filled", 0o755) as aside:
        aside.rename(tmp_path / "away")
        aside.symlink_to(victim)
    assert mode(victim) == 0o700
