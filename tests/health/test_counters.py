"""Counters survive their process, and whoever reads them trusts nothing."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from inkgate.config.locks import try_lock
from inkgate.health import reading
from inkgate.health.conditions import CONDITIONS
from inkgate.health.counters import Counters
from inkgate.health.layout import FILE_BYTES, NUMBERS_AT, STATE_AT, boot_id
from inkgate.health.monitor import Monitor
from inkgate.health.reading import fold_dead, read_all

_COUNTING = """
import sys, time
from pathlib import Path
from inkgate.health.counters import Counters
counters = Counters(Path(sys.argv[1]), "inkgate-helper", ("requests", "by-fail"))
counters.say({"serial": 7, "fail": "open"})
for _ in range(1000):
    counters.add("requests")
print("counted", flush=True)
time.sleep(60)
"""


def counting(folder: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", _COUNTING, folder], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    assert process.stdout.readline() == "counted\n"
    return process


def test_killed_process_loses_no_count_and_is_seen_as_dead(tmp_path: Path) -> None:
    process = counting(tmp_path)
    (alive,) = read_all(tmp_path)
    assert alive.is_alive
    assert alive.state == {"serial": 7, "fail": "open"}
    process.send_signal(signal.SIGKILL)
    process.communicate()
    (dead,) = read_all(tmp_path)
    assert not dead.is_alive
    assert dead.numbers == {"requests": 1000, "by-fail": 0}


def test_next_process_inherits_the_counts_of_the_dead_and_their_files_go(tmp_path: Path) -> None:
    for _ in range(3):
        process = counting(tmp_path)
        process.kill()
        process.communicate()
    living = counting(tmp_path)
    try:
        monitor = Monitor(tmp_path, "inkgate-helper", print)
        processes = read_all(tmp_path)
        assert sorted(p.numbers["requests"] for p in processes) == [1000, 3000]
        assert all(p.is_alive for p in processes)
        monitor.end()
    finally:
        living.kill()
        living.communicate()


def test_latest_time_of_a_condition_is_inherited_and_not_a_sum(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from inkgate.health.monitor import Monitor\n"
        "monitor = Monitor(Path(sys.argv[1]), 'inkgate-helper', lambda _: None)\n"
        "monitor.met('queue-full')\n"
    )
    for _ in range(2):
        subprocess.run([sys.executable, "-c", program, tmp_path], check=True)
    said: list[str] = []
    monitor = Monitor(tmp_path, "inkgate-helper", said.append)
    (process,) = read_all(tmp_path)
    assert process.numbers["queue-full"] == 2
    assert abs(process.numbers["queue-full.last"] - time.time()) < 60
    # Both ended without a farewell: the second counted the first.
    assert process.numbers["process-died"] == 2
    assert said[0].startswith("critical: process-died: inkgate-helper[")
    monitor.end()


def test_death_is_dated_when_it_was_and_not_when_it_is_found(tmp_path: Path) -> None:
    """By when the process last looked after itself: an idle one counts nothing."""
    died = int(time.time()) - 7200
    program = (
        "import sys; from pathlib import Path; from inkgate.health.monitor import Monitor, SEEN\n"
        "monitor = Monitor(Path(sys.argv[1]), 'inkgate-helper', lambda _: None)\n"
        "monitor.remind()\n"
        f"monitor._counters.set(SEEN, {died})\n"
    )
    subprocess.run([sys.executable, "-c", program, tmp_path], check=True)
    (file,) = tmp_path.glob("*.counters")
    os.utime(file, (died - 3600, died - 3600))
    (dead,) = read_all(tmp_path)
    assert dead.last_seen == died
    monitor = Monitor(tmp_path, "inkgate-helper", lambda _: None)
    (process,) = read_all(tmp_path)
    assert (process.numbers["process-died"], process.numbers["process-died.last"]) == (1, died)
    monitor.end()


def test_process_that_ends_as_it_should_or_before_a_restart_has_not_died(tmp_path: Path) -> None:
    Monitor(tmp_path, "inkgate-helper", print).end()
    counters = Counters(tmp_path, "inkgate-helper", ("ended",))
    counters.let_go()
    for file in tmp_path.glob("*.counters"):
        data = file.read_bytes()
        file.write_bytes(data.replace(boot_id().encode(), b"0" * 36))
    said: list[str] = []
    Monitor(tmp_path, "inkgate-helper", said.append).end()
    assert not said


@pytest.mark.parametrize("kind", ["link", "fifo", "folder", "short", "long", "garbage", "header"])
def test_what_another_user_puts_there_is_passed_over(tmp_path: Path, kind: str) -> None:
    secret = tmp_path / "secret"
    Counters(tmp_path, "inkgate-helper", ("requests",)).add("requests")
    (real,) = tmp_path.glob("*.counters")
    place = tmp_path / "inkgate-helper-1-00000000.counters"
    if kind == "link":
        secret.write_bytes(real.read_bytes())
        place.symlink_to(secret)
    elif kind == "fifo":
        os.mkfifo(place)
    elif kind == "folder":
        place.mkdir()
    else:
        data = bytearray(real.read_bytes())
        if kind == "short":
            data = data[:-1]
        elif kind == "long":
            data += b"x"
        elif kind == "garbage":
            data = bytearray(os.urandom(FILE_BYTES))
        else:
            data[8:12] = (2**32 - 1).to_bytes(4, "little")
            data[12:NUMBERS_AT] = b"[" * (NUMBERS_AT - 12)
        place.write_bytes(data)
    (found,) = read_all(tmp_path)
    assert found.numbers == {"requests": 1}


def test_state_that_is_just_written_is_no_state(tmp_path: Path) -> None:
    counters = Counters(tmp_path, "inkgate-helper", ())
    counters.say({"serial": 1})
    (file,) = tmp_path.glob("*.counters")
    with file.open("r+b") as written:
        written.seek(STATE_AT + 9)
        written.write(b"?")
    (found,) = read_all(tmp_path)
    assert found.state == {}


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time since the start, for tests to move on."""
    seconds = [1000.0]
    monkeypatch.setattr("inkgate.health.monitor.time.monotonic", lambda: seconds[0])
    return seconds


def test_event_is_said_once_a_minute_and_counted_always(tmp_path: Path, now: list[float]) -> None:
    said: list[str] = []
    monitor = Monitor(tmp_path, "inkgate-helper", said.append)
    for _ in range(5):
        monitor.met("queue-full", "20000 requests wait already")
        monitor.remind()
    assert said == ["critical: queue-full: 20000 requests wait already"]
    now[0] += 61
    monitor.remind()
    monitor.remind()
    more = "critical: queue-full: 20000 requests wait already (4 times since the last such line)"
    assert said[1:] == [more]
    monitor.met("queue-full", "20000 requests wait already", 7)
    monitor.end()
    # What is not said yet is said at the end.
    assert said[2].endswith("(7 times since the last such line)")
    (found,) = read_all(tmp_path)
    assert found.numbers["queue-full"] == 12


def test_what_lasts_is_counted_once_said_ever_more_seldom_and_its_end_is_said(
    tmp_path: Path, now: list[float]
) -> None:
    said: list[str] = []
    monitor = Monitor(tmp_path, "inkgate-helper", said.append)
    for _ in range(24 * 60):
        monitor.met("no-rules", "no rule set is installed")
        now[0] += 60
    assert 24 < len(said) < 35
    (found,) = read_all(tmp_path)
    assert (found.numbers["no-rules"], found.numbers["no-rules.now"]) == (1, 1)
    said.clear()
    monitor.met("no-rules", "the token cannot be read")
    assert said == ["critical: no-rules: the token cannot be read"]
    monitor.over("no-rules", "serial 7 is in use")
    monitor.over("no-rules", "serial 7 is in use")
    assert said[1:] == ["recovered: no-rules: serial 7 is in use"]
    (found,) = read_all(tmp_path)
    assert found.numbers["no-rules.now"] == 0
    monitor.end()


def test_folder_that_cannot_be_used_is_said_and_stops_nothing(tmp_path: Path) -> None:
    said: list[str] = []
    monitor = Monitor(tmp_path / "missing" / "health", "inkgate-helper", said.append)
    monitor.met("no-rules")
    assert len(said) == 2
    assert "missing" in said[0]
    monitor.end()


def test_folder_is_made_with_its_mode_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        Monitor(tmp_path / "health", "inkgate-helper", print).end()
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "health").stat().st_mode) == 0o750
    assert {stat.S_IMODE(p.stat().st_mode) for p in (tmp_path / "health").iterdir()} == {0o640}


def test_every_condition_has_words_of_its_own() -> None:
    names = [condition.name for condition in CONDITIONS]
    assert len(set(names)) == len(names)
    for condition in CONDITIONS:
        assert condition.meaning
        assert condition.remedy


def test_file_that_another_process_counts_meanwhile_is_not_counted_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = counting(tmp_path)
    process.kill()
    process.communicate()
    counted: list[int] = []

    def count(dead: reading.ProcessCounters) -> None:
        counted.append(dead.numbers["requests"])

    def the_other_is_quicker(fd: int) -> bool:
        monkeypatch.undo()
        fold_dead(tmp_path, ("inkgate-helper",), count)
        return try_lock(fd)

    monkeypatch.setattr(reading, "try_lock", the_other_is_quicker)
    fold_dead(tmp_path, ("inkgate-helper",), count)
    assert counted == [1000]


def test_file_of_a_process_that_let_go_of_it_is_no_living_process_s(tmp_path: Path) -> None:
    counters = Counters(tmp_path, "inkgate-helper", ("ended",))
    counters.let_go()
    (process,) = read_all(tmp_path)
    assert not process.is_alive
