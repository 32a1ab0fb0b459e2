"""Locks hold between processes, and end with them."""

from __future__ import annotations

import multiprocessing
import os
import stat
import time
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from inkgate.config.locks import lock_byte, lock_file, lock_folder, lock_until, open_lock_file

CONTEXT = multiprocessing.get_context("fork")


def _hold_file(path: Path, ready: Connection) -> None:
    with lock_file(path, 0o600) as is_locked:
        ready.send(is_locked)
        ready.poll(60)  # killed before


def _hold_folder(path: Path, ready: Connection) -> None:
    with lock_folder(path, 5.0):
        ready.send(True)
        ready.poll(60)  # killed before


def _hold_byte(path: Path, ready: Connection) -> None:
    with lock_byte(open_lock_file(path, 0o600), 1 << 61):
        ready.send(True)
        ready.poll(60)  # killed before


def _take_byte(path: Path, offset: int, ready: Connection) -> None:
    with lock_byte(open_lock_file(path, 0o600), offset):
        ready.send(True)


def test_file_is_locked_by_one_until_it_ends(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    ours, theirs = CONTEXT.Pipe()
    other = CONTEXT.Process(target=_hold_file, args=(path, theirs))
    other.start()
    assert ours.recv() is True
    with lock_file(path, 0o600) as is_locked:
        assert not is_locked
    other.kill()
    other.join()
    with lock_file(path, 0o600) as is_locked:
        assert is_locked
        with lock_file(path, 0o600) as again:
            assert not again


def test_lock_is_waited_for_in_bounded_time(tmp_path: Path) -> None:
    pauses: list[float] = []

    def pause(seconds: float) -> bool:
        pauses.append(seconds)
        return len(pauses) == 3

    first, second = (open_lock_file(tmp_path / "lock", 0o600) for _ in range(2))
    assert lock_until(first, 0.0, pause)
    assert not lock_until(second, time.monotonic() - 1, pause)
    assert not pauses
    assert not lock_until(second, time.monotonic() + 60, pause)
    assert len(pauses) == 3
    os.close(first)
    assert lock_until(second, 0.0, pause)
    os.close(second)


def test_folder_is_waited_for(tmp_path: Path) -> None:
    ours, theirs = CONTEXT.Pipe()
    first = CONTEXT.Process(target=_hold_folder, args=(tmp_path, theirs))
    first.start()
    assert ours.recv()
    second = CONTEXT.Process(target=_hold_folder, args=(tmp_path, theirs))
    second.start()
    assert not ours.poll(0.2)
    first.kill()
    assert ours.poll(20)
    for process in (first, second):
        process.kill()
        process.join()


def test_byte_is_waited_for_and_others_are_not(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    ours, theirs = CONTEXT.Pipe()
    holding = CONTEXT.Process(target=_hold_byte, args=(path, theirs))
    holding.start()
    assert ours.recv()
    other = CONTEXT.Process(target=_take_byte, args=(path, 7, theirs))
    other.start()
    assert ours.recv()
    same = CONTEXT.Process(target=_take_byte, args=(path, 1 << 61, theirs))
    same.start()
    assert not ours.poll(0.2)
    holding.kill()
    assert ours.poll(20)
    for process in (holding, other, same):
        process.join()


@pytest.mark.parametrize("mask", [0o077, 0o000])
def test_lock_file_has_its_mode_and_owner(tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        os.close(open_lock_file(tmp_path / "lock", 0o640, owner_of=tmp_path))
    finally:
        os.umask(before)
    made = (tmp_path / "lock").stat()
    assert stat.S_IMODE(made.st_mode) == 0o640
    (tmp_path / "lock").chmod(0o660)
    os.close(open_lock_file(tmp_path / "lock", 0o640))
    assert stat.S_IMODE((tmp_path / "lock").stat().st_mode) == 0o660


def test_lock_file_is_no_link(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").touch()
    (tmp_path / "lock").symlink_to("elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        open_lock_file(tmp_path / "lock", 0o600)
