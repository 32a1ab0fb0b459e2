"""A wall clock that jumps makes no rule set old."""

from __future__ import annotations

from pathlib import Path

import pytest

from inkgate.health.clock import Clock

YEAR = 366 * 86_400.0


class Clocks:
    """Both clocks of a machine."""

    def __init__(self) -> None:
        self.wall, self.since_boot = 1_800_000_000.0, 5000.0

    def passes(self, seconds: float) -> None:
        self.wall += seconds
        self.since_boot += seconds

    def clock(self, folder: Path | None) -> Clock:
        return Clock(
            folder,
            wall=lambda: self.wall,
            since_boot=lambda: self.since_boot,
        )


@pytest.mark.parametrize("jump", [YEAR, -YEAR])
def test_jump_while_the_process_runs_is_noticed_once_and_not_believed(jump: float) -> None:
    clocks = Clocks()
    clock = clocks.clock(None)
    clocks.passes(3600)
    clocks.wall += jump
    clocks.passes(60)
    assert clock.now() == pytest.approx(clocks.wall - jump)
    assert clock.jump == pytest.approx(jump)
    clocks.wall -= jump
    assert clock.now() == clocks.wall
    assert clock.jump == 0


def test_jump_between_two_processes_is_found_by_the_note(tmp_path: Path) -> None:
    clocks = Clocks()
    clocks.clock(tmp_path).keep()
    clocks.passes(3600)
    clocks.wall += YEAR
    clock = clocks.clock(tmp_path)
    assert clock.now() == pytest.approx(clocks.wall - YEAR)
    assert clock.jump == pytest.approx(YEAR)


def test_clock_after_a_jump_leaves_no_note(tmp_path: Path) -> None:
    clocks = Clocks()
    clock = clocks.clock(tmp_path)
    clock.keep()
    clocks.wall += YEAR
    clock.keep()
    assert clocks.clock(tmp_path).now() == pytest.approx(clocks.wall - YEAR)


def test_small_corrections_are_believed_and_add_up(tmp_path: Path) -> None:
    clocks = Clocks()
    clock = clocks.clock(tmp_path)
    for _ in range(100):
        clocks.passes(60)
        clocks.wall += 3600
        assert clock.now() == clocks.wall
        clock.keep()
    assert clock.jump == 0


def test_long_time_that_really_passes_is_believed() -> None:
    clocks = Clocks()
    clock = clocks.clock(None)
    clocks.passes(YEAR)
    assert clock.now() == clocks.wall
    assert clock.jump == 0


def test_note_of_another_start_of_the_machine_is_not_used(tmp_path: Path) -> None:
    clocks = Clocks()
    clocks.clock(tmp_path).keep()
    note = tmp_path / "clock.json"
    note.write_text(note.read_text().replace('"boot":"', '"boot":"0'))
    clocks.wall += YEAR
    assert clocks.clock(tmp_path).now() == clocks.wall


def test_link_in_place_of_the_note_is_not_followed(tmp_path: Path) -> None:
    aim = tmp_path / "aim"
    (tmp_path / "clock.json").symlink_to(aim)
    Clocks().clock(tmp_path).keep()
    assert not aim.exists()
