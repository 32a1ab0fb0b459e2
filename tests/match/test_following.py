"""Growing files that are cut off, as logrotate's copytruncate does: no line is lost."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from inkgate.rules.match.input.follow import Followed
from inkgate.rules.match.input.positions import Position


def lines(first: int, count: int) -> str:
    return "".join(f"line {n} {'x' * 50}\n" for n in range(first, first + count))


@contextmanager
def following(path: Path, position: Position | None = None) -> Iterator[tuple[Followed, list[str]]]:
    said: list[str] = []
    file = Followed(str(path), position, said.append)
    try:
        yield file, said
    finally:
        file.close()


def read(file: Followed) -> str:
    """All that it reads until it finds nothing."""
    text = ""
    while block := file.read():
        text += block.decode()
    return text


def cut_off(path: Path, copy: str | None = ".1") -> None:
    if copy is not None:
        shutil.copyfile(path, path.with_name(path.name + copy))
    with path.open("r+") as file:
        file.truncate(0)


def append(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


@pytest.mark.parametrize("grown", [0, 1, 5, 40])
@pytest.mark.parametrize("copy", [None, ".1", "-20260101"])
def test_what_grew_again_before_it_was_looked_at_is_read(
    tmp_path: Path, grown: int, copy: str | None
) -> None:
    path = tmp_path / "access.log"
    path.write_text(lines(0, 5))
    with following(path) as (file, _):
        assert read(file) == lines(0, 5)
        cut_off(path, copy)
        append(path, lines(100, grown))
        assert read(file) == lines(100, grown)
        append(path, lines(200, 1))
        assert read(file) == lines(200, 1)
        # The live file is followed again, not the copy.
        assert file.position is not None
        assert file.position.inode == path.stat().st_ino


@pytest.mark.parametrize("grown", [1, 40])
def test_what_was_added_before_the_copy_is_read_from_the_copy(tmp_path: Path, grown: int) -> None:
    path = tmp_path / "access.log"
    path.write_text(lines(0, 5))
    (tmp_path / "access.log.2").write_text(lines(1000, 20))
    with following(path) as (file, _):
        assert read(file) == lines(0, 5)
        append(path, lines(5, 3))
        cut_off(path)
        append(path, lines(100, grown))
        assert read(file) == lines(5, 3) + lines(100, grown)
        append(path, lines(200, 1))
        assert read(file) == lines(200, 1)


def test_half_a_line_before_the_cut_does_not_spoil_the_line_behind_it(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    path.write_text(lines(0, 2) + "half a li")
    with following(path) as (file, _):
        assert read(file) == lines(0, 2) + "half a li"
        cut_off(path, None)
        append(path, lines(100, 9))
        assert read(file) == "\n" + lines(100, 9)


@pytest.mark.parametrize("grown", [1, 40])
def test_a_cut_between_two_runs_loses_nothing(tmp_path: Path, grown: int) -> None:
    path = tmp_path / "access.log"
    path.write_text(lines(0, 5) + "half a li")
    with following(path) as (file, _):
        read(file)
        position = file.position
    assert position is not None
    append(path, "ne\n" + lines(5, 2))
    cut_off(path)
    append(path, lines(100, grown))
    with following(path, position) as (file, said):
        assert read(file) == "half a line\n" + lines(5, 2) + lines(100, grown)
        assert said == []


def test_a_cut_without_a_copy_is_said_by_the_next_run(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    path.write_text(lines(0, 5))
    with following(path) as (file, _):
        read(file)
        position = file.position
    cut_off(path, None)
    append(path, lines(100, 40))
    with following(path, position) as (file, said):
        assert read(file) == lines(100, 40)
        assert "is gone" in said[0]


def test_positions_of_before_are_still_known(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    path.write_text(lines(0, 5))
    found = path.stat()
    old = Position(found.st_dev, found.st_ino, len(lines(0, 3)))
    with following(path, old) as (file, said):
        assert read(file) == lines(3, 2)
        assert said == []


@pytest.mark.parametrize("grown", [0, 1, 4, 40])
def test_a_cut_after_going_on_from_a_position_of_before_loses_nothing(
    tmp_path: Path, grown: int
) -> None:
    path = tmp_path / "access.log"
    path.write_text(lines(0, 5))
    found = path.stat()
    old = Position(found.st_dev, found.st_ino, len(lines(0, 3)))
    with following(path, old) as (file, _):
        # Nothing is added before the cut: only the position tells what was read.
        path.write_text(lines(0, 3))
        assert read(file) == ""
        cut_off(path, None)
        append(path, lines(100, grown))
        assert read(file) == lines(100, grown)


def test_a_copy_that_is_compressed_and_removed_while_it_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "access.log"
    path.write_text(lines(0, 5))
    with following(path) as (file, _):
        read(file)
        append(path, lines(5, 3))
        cut_off(path)
        append(path, lines(100, 1))
        copy = tmp_path / "access.log.1"
        close = os.close

        def close_and_remove(number: int) -> None:
            close(number)
            copy.unlink(missing_ok=True)

        monkeypatch.setattr(os, "close", close_and_remove)
        assert read(file) == lines(100, 1)


def test_a_file_that_begins_alike_is_no_copy(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    path.write_text("#head\n")
    (tmp_path / "access.log.1").write_text("#head\n" + lines(0, 3))
    with following(path) as (file, _):
        assert read(file) == "#head\n"
        cut_off(path, None)
        append(path, lines(100, 3))
        assert read(file) == lines(100, 3)
