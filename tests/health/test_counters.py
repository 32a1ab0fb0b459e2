"""Counters survive their process, and whoever reads them trusts nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from inkgate.health.conditions import CONDITIONS
from inkgate.health.counters import Counters
from inkgate.health.layout import FILE_BYTES, NUMBERS_AT, STATE_AT
from inkgate.health.monitor import Monitor
from inkgate.health.reading import read_all

_COUNTING = """
import sys, time
from pathlib import Path
from inkgate.health.counters import Counters
counters = Counters(Path(sys.argv[1]), "inkgate-helper", ("requests", "by-fail"))
counters.say(serial=7, fail="open")
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
        Monitor(tmp_path, "inkgate-helper", ("requests",), print)
        processes = read_all(tmp_path)
        assert sorted(p.numbers["requests"] for p in processes) == [1000, 3000]
        assert all(p.is_alive for p in processes)
    finally:
        living.kill()
        living.communicate()


def test_latest_time_of_a_condition_is_inherited_and_not_a_sum(tmp_path: Path) -> None:
    first = Monitor(tmp_path, "inkgate-helper", (), lambda _: None)
    first.met("no-rules")
    then = first.counters.numbers[first.counters.number("no-rules.last")]
    first.counters.close()
    second = Monitor(tmp_path, "inkgate-helper", (), lambda _: None)
    second.met("no-rules")
    third = read_all(tmp_path)[-1].numbers
    assert third["no-rules"] == 2
    assert then <= third["no-rules.last"] < 2 * then


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
    counters.say(serial=1)
    (file,) = tmp_path.glob("*.counters")
    with file.open("r+b") as written:
        written.seek(STATE_AT + 9)
        written.write(b"?")
    (found,) = read_all(tmp_path)
    assert found.state == {}


def test_condition_is_said_once_a_minute_counted_always_and_its_end_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr("inkgate.health.monitor.time.monotonic", lambda: now[0])
    said: list[str] = []
    monitor = Monitor(tmp_path, "inkgate-helper", (), said.append)
    for _ in range(5):
        monitor.met("queue-full", "20000 requests wait")
    assert said == ["warning: queue-full: 20000 requests wait"]
    now[0] += 61
    monitor.met("queue-full", "20000 requests wait")
    assert said[1] == "warning: queue-full: 20000 requests wait (5 times since the last such line)"
    monitor.over("queue-full", "the queue has room")
    monitor.over("queue-full", "the queue has room")
    assert said[2:] == ["recovered: queue-full: the queue has room"]
    (found,) = read_all(tmp_path)
    assert found.numbers["queue-full"] == 6


def test_folder_that_cannot_be_used_is_said_and_stops_nothing(tmp_path: Path) -> None:
    said: list[str] = []
    monitor = Monitor(tmp_path / "missing", "inkgate-helper", ("requests",), said.append)
    monitor.met("no-rules")
    assert len(said) == 2
    assert "missing" in said[0]


def test_every_condition_has_words_of_its_own() -> None:
    names = [condition.name for condition in CONDITIONS]
    assert len(set(names)) == len(names)
    for condition in CONDITIONS:
        assert condition.meaning
        assert condition.remedy
