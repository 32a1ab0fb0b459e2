"""Workers do what is asked for, in order, and never outlive whoever asked."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from inkgate.config.processes import WorkerEnded, Workers, processes_for, result_of, usable_cores
from support import worked
from support.terminal import heed_interrupts
from support.waiting import wait_until
from support.worked import doing


def pids(folder: Path, what: str) -> set[int]:
    return {int(path.stem) for path in folder.glob(f"*.{what}")}


def is_alive(pid: int) -> bool:
    try:
        # A zombie that nobody reaps has ended.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def ignores_interrupts(pid: int) -> bool:
    """Whether SIGINT does nothing to a process, however long one waits (proc(5), SigIgn)."""
    words = Path(f"/proc/{pid}/status").read_text().split()
    return bool(int(words[words.index("SigIgn:") + 1], 16) >> (signal.SIGINT - 1) & 1)


def test_cores_and_whether_processes_are_worth_it() -> None:
    assert usable_cores() == len(os.sched_getaffinity(0))
    assert processes_for(4, 1000, 1000) == 4
    assert processes_for(4, 999, 1000) == 0
    assert processes_for(1, 1000, 1000) == 0


@pytest.mark.parametrize("processes", [0, 2])
def test_results_come_in_order_whatever_is_ready_first(tmp_path: Path, processes: int) -> None:
    seconds = [0.5, 0.0, 0.0, 0.2, 0.0]
    with Workers(processes, doing, tmp_path) as workers:
        found = list(workers.results((n, ("work", s)) for n, s in enumerate(seconds)))
    assert [n for n, _ in found] == list(range(5))
    done_by = {pid for _, pid in found}
    assert pids(tmp_path, "began") == done_by | pids(tmp_path, "began")
    assert (os.getpid() in done_by) == (processes == 0)
    if not processes:
        assert pids(tmp_path, "began") == pids(tmp_path, "ended") == {os.getpid()}


def test_results_are_given_while_no_more_pieces_are_there(tmp_path: Path) -> None:
    given: list[int] = []

    def pieces() -> Iterator[tuple[int, tuple[str, float]] | None]:
        yield 1, ("work", 0.0)
        while not given:
            yield None
        yield 2, ("work", 0.0)

    with Workers(2, doing, tmp_path) as workers:
        for number, _ in workers.results(pieces()):
            given.append(number)
    assert given == [1, 2]


def test_pieces_are_taken_only_as_far_ahead_as_processes_need(tmp_path: Path) -> None:
    taken: list[int] = []

    def pieces() -> Iterator[tuple[int, tuple[str, float]]]:
        for number in range(1000):
            taken.append(number)
            yield number, ("work", 0.01)

    with Workers(2, doing, tmp_path) as workers:
        results = workers.results(pieces())
        for number in range(5):
            next(results)
            assert len(taken) <= number + 2 + 2 * 4


@pytest.mark.parametrize("processes", [0, 2])
def test_fault_of_a_piece_is_raised_and_ends_the_others_at_once(
    tmp_path: Path, processes: int
) -> None:
    pieces = [("raise", 0.0)] if not processes else [("raise", 0.0), ("sleep", 600.0)]
    started = time.monotonic()
    with pytest.raises(ValueError, match="no good"), Workers(processes, doing, tmp_path) as workers:
        list(workers.results(enumerate(pieces)))
    assert time.monotonic() - started < 60
    assert not any(is_alive(pid) for pid in pids(tmp_path, "began") - {os.getpid()})


def test_results_that_nobody_wants_any_more_end_the_processes(tmp_path: Path) -> None:
    def first() -> Iterator[int]:
        with Workers(2, doing, tmp_path) as workers:
            for number, _ in workers.results(enumerate([("work", 0.0), ("sleep", 600.0)])):
                yield number

    results = first()
    assert next(results) == 0
    started = time.monotonic()
    results.close()  # type: ignore[attr-defined]
    assert time.monotonic() - started < 60
    assert not any(is_alive(pid) for pid in pids(tmp_path, "began"))


def test_worker_that_is_killed(tmp_path: Path) -> None:
    with Workers(1, doing, tmp_path) as workers:
        future = workers.submit(("sleep", 600.0))
        wait_until(lambda: pids(tmp_path, "sleep"), "a worker at work")
        for pid in pids(tmp_path, "sleep"):
            os.kill(pid, signal.SIGKILL)
        with pytest.raises(WorkerEnded, match="lack of memory"):
            result_of(future)
    with pytest.raises(WorkerEnded), Workers(1, doing, tmp_path / "not there") as workers:
        list(workers.results([(1, ("work", 0.0))]))


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_workers_end_with_their_parent(tmp_path: Path, how: signal.Signals) -> None:
    parent = subprocess.Popen([sys.executable, worked.__file__, tmp_path])
    wait_until(lambda: len(pids(tmp_path, "sleep")) == 2, "two workers at work")
    parent.send_signal(how)
    parent.wait(30)
    wait_until(lambda: not any(map(is_alive, pids(tmp_path, "began"))), "the workers' end")


def test_control_c_goes_to_the_parent_alone(tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, worked.__file__, tmp_path],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=heed_interrupts,  # noqa: PLW1509 (it only sets a signal)
    )
    wait_until(lambda: len(pids(tmp_path, "sleep")) == 2, "two workers at work")
    for pid in pids(tmp_path, "began"):
        os.kill(pid, signal.SIGINT)
    assert all(ignores_interrupts(pid) and is_alive(pid) for pid in pids(tmp_path, "began"))
    os.killpg(parent.pid, signal.SIGINT)
    said = parent.communicate(timeout=60)[1]
    assert said.count("KeyboardInterrupt") == 1
    wait_until(lambda: not any(map(is_alive, pids(tmp_path, "began"))), "the workers' end")
