"""The journal under several writers, kills, and other versions."""

from __future__ import annotations

import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from inkgate.sightings.errors import JournalError
from inkgate.sightings.journal.incident import new_incident
from inkgate.sightings.journal.journal import Journal
from inkgate.sightings.journal.sighting import Sighting


def sighting(incident: str, moment: float = 1.0) -> Sighting:
    return Sighting(
        time=moment, incident=incident, indicator_class="domain", attributes=("u1", "u2"),
        client="192.0.2.1", method="GET", action="block", node="n",
    )  # fmt: skip


def test_round_trip_and_filters(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j.db")
    journal.append([sighting("A", 1.0), sighting("B", 2.0)])
    assert list(journal.read()) == [sighting("A", 1.0), sighting("B", 2.0)]
    assert [s.incident for s in journal.read(since=1.5)] == ["B"]
    assert [s.incident for s in journal.read(incident="A")] == ["A"]
    assert (tmp_path / "j.db").stat().st_mode & 0o777 == 0o640
    journal.close()


def test_many_sightings_at_once_and_in_order(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j.db")
    many = [sighting(f"IG-{n}", float(n)) for n in range(5000)]
    journal.append(many)
    journal.append([])
    assert list(journal.read()) == many


def test_text_that_utf8_cannot_hold_is_the_callers_fault_and_nothing_is_recorded(
    tmp_path: Path,
) -> None:
    journal = Journal(tmp_path / "j.db")
    for rows in (1, 2_100):
        with pytest.raises(UnicodeEncodeError):
            journal.append([*(sighting("A") for _ in range(rows)), sighting("G\udcff")])
    assert list(journal.read()) == []
    journal.append([sighting("B")])
    assert [s.incident for s in journal.read()] == ["B"]


def test_missing_journal_is_empty(tmp_path: Path) -> None:
    assert list(Journal(tmp_path / "none.db").read()) == []
    assert not (tmp_path / "none.db").exists()


WRITER = """
import sys
from pathlib import Path
from inkgate.sightings.journal.journal import Journal
from inkgate.sightings.journal.sighting import Sighting
journal = Journal(Path(sys.argv[1]))
for n in range(int(sys.argv[3])):
    journal.append([Sighting(time=1.0, incident=f"{sys.argv[2]}-{n}", indicator_class="url",
        attributes=("u",), client="", method="", action="block", node="")])
    print(n, flush=True)
"""


def writer(path: Path, name: str, count: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, path, name, str(count)], stdout=subprocess.PIPE, text=True
    )


def test_writers_in_several_processes(tmp_path: Path) -> None:
    writers = [writer(tmp_path / "j.db", str(n), 200) for n in range(4)]
    for process in writers:
        process.communicate(timeout=60)
        assert process.returncode == 0
    assert len({s.incident for s in Journal(tmp_path / "j.db").read()}) == 800


def test_kill_9_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    process = writer(tmp_path / "j.db", "x", 1_000_000)
    assert process.stdout
    acknowledged = [process.stdout.readline().strip() for _ in range(100)]
    process.kill()
    acknowledged += process.communicate()[0].split()
    found = {s.incident for s in Journal(tmp_path / "j.db").read()}
    assert {f"x-{n}" for n in acknowledged} <= found


def test_newer_schema_is_refused_by_name(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "j.db") as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(JournalError, match="newer inkgate"):
        list(Journal(tmp_path / "j.db").read())
    with pytest.raises(JournalError, match="newer inkgate"):
        Journal(tmp_path / "j.db").append([sighting("A")])


def test_journal_that_cannot_be_written_says_which(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match=r"no-folder/j\.db"):
        Journal(tmp_path / "no-folder" / "j.db").append([sighting("A")])


def test_incident_ids_can_be_spelt() -> None:
    made = {new_incident() for _ in range(1000)}
    assert len(made) == 1000
    assert all(re.fullmatch("IG-[0-9A-HJKMNP-TV-Z]{10}", i) for i in made)
