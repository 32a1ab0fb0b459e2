"""Old schemas stay readable; records go by age and size, and not before they are told."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from inkgate.config.settings_file import SettingsError, load_section
from inkgate.sightings.errors import JournalError
from inkgate.sightings.journal.database import SCHEMA, installation, open_writer
from inkgate.sightings.journal.journal import Journal
from inkgate.sightings.journal.records import unpack
from inkgate.sightings.report.outbox import REPORTED, Outbox, ReportState, read_items
from inkgate.sightings.report.retention import prune, used_bytes
from inkgate.sightings.settings import SightingsSettings
from support.reporting import DAY, sighting

UUID = "8c1f0f5e-4d1b-4f7e-9a51-3a6f6c2f6b10"
SCHEMA_1 = """
CREATE TABLE sightings (id INTEGER PRIMARY KEY, time REAL NOT NULL, incident TEXT NOT NULL,
    class TEXT NOT NULL, attributes TEXT NOT NULL, client TEXT NOT NULL, method TEXT NOT NULL,
    action TEXT NOT NULL, node TEXT NOT NULL) STRICT;
CREATE INDEX sightings_incident ON sightings (incident);
INSERT INTO sightings VALUES (1, 5.0, 'A', 'url', '["u1", "u2"]', '192.0.2.1', 'GET', 'log', 'n');
PRAGMA user_version = 1;
"""
INSERT_1 = (
    "INSERT INTO sightings (time, incident, class, attributes, client, method, action, node) "
    "VALUES (6.0, 'B', 'url', '[]', '', 'GET', 'log', 'n')"
)


def old_journal(path: Path) -> Path:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(SCHEMA_1)
    return path


def test_old_journal_is_read_without_being_changed(tmp_path: Path) -> None:
    path = old_journal(tmp_path / "j.db")
    (found,) = Journal(path).read()
    assert (found.incident, found.attributes, found.events) == ("A", ("u1", "u2"), ())
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)


def test_old_journal_is_migrated_while_an_old_writer_goes_on(tmp_path: Path) -> None:
    path = old_journal(tmp_path / "j.db")
    with closing(sqlite3.connect(path, isolation_level=None)) as old:
        Journal(path).append([sighting(["u3"], 7.0, "C")])
        old.execute(INSERT_1)
        assert [s.incident for s in Journal(path).read()] == ["A", "B", "C"]
        assert old.execute("PRAGMA user_version").fetchone() == (SCHEMA,)
    with Outbox(path, 24) as outbox:
        assert [outbox.fold() for _ in range(3)] == [2, 1, 0]
        assert outbox.counts()[ReportState.REFUSED] == 3  # u1, u2, u3 are no UUIDs


MIGRATION = """
import os, sqlite3, sys
from pathlib import Path
from inkgate.sightings.journal.database import open_writer
left = int(sys.argv[2])
def die_in_time(statement):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), 9)
connect = sqlite3.connect
def connect_and_watch(*arguments, **options):
    connection = connect(*arguments, **options)
    connection.set_trace_callback(die_in_time)
    return connection
sqlite3.connect = connect_and_watch
open_writer(Path(sys.argv[1]))
"""


@pytest.mark.slow
def test_migration_killed_before_any_statement_is_taken_up_again(tmp_path: Path) -> None:
    statements = 0
    status = None
    while status != 0:
        statements += 1
        path = old_journal(tmp_path / f"{statements}.db")
        command = [sys.executable, "-c", MIGRATION, path, str(statements)]
        status = subprocess.run(command, check=False, timeout=60).returncode
        assert status in (0, -signal.SIGKILL)
        Journal(path).append([sighting(["u"], incident="B")])
        assert [s.incident for s in Journal(path).read()] == ["A", "B"]
    # BEGIN, three steps of the schema and COMMIT at the least.
    assert statements > 10


def settings(**more: int) -> SightingsSettings:
    return SightingsSettings(**{"keep_days": 30, **more})


def filled(path: Path, ages: list[float]) -> None:
    now = time.time()
    Journal(path).append(
        [sighting(["u"], now - age * DAY, f"IG-{n}") for n, age in enumerate(ages)]
    )


def test_old_and_reported_goes_the_rest_stays(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    filled(path, [50, 40, 20, 10])
    assert prune(path, settings(), REPORTED, print) == 0
    with Outbox(path, 24) as outbox:
        outbox.fold()
    filled(path, [60, 1])
    assert prune(path, settings(), REPORTED, print) == 2
    assert [s.incident for s in Journal(path).read()] == ["IG-2", "IG-3", "IG-0", "IG-1"]
    assert prune(path, settings(), None, print) == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root is asked to be somebody else")
def test_root_makes_no_journal_in_a_folder_of_another_user(tmp_path: Path) -> None:
    os.chown(tmp_path, 12345, 12346)
    with pytest.raises(JournalError, match="belongs to user 12345"):
        filled(tmp_path / "j.db", [1])
    assert list(tmp_path.iterdir()) == []


def test_last_number_is_never_used_again(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    filled(path, [50, 50])
    prune(path, settings(), None, print)
    filled(path, [50])
    with closing(open_writer(path)) as connection:
        unpack(connection)
        assert connection.execute("SELECT max(id) FROM sightings").fetchone() == (3,)


def test_size_takes_reported_records_first(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    long = [sighting(["u"], incident=f"IG-{n}", method="G" * 1200) for n in range(3000)]
    Journal(path).append(long)
    said: list[str] = []
    assert prune(path, settings(keep_mib=1, hard_mib=64), REPORTED, said.append) == 0
    with Outbox(path, 24) as outbox:
        assert outbox.fold() == 2000
    removed = prune(path, settings(keep_mib=1, hard_mib=64), REPORTED, said.append)
    assert 1000 < removed <= 2000
    assert not said
    removed = prune(path, settings(keep_mib=1, hard_mib=1), REPORTED, said.append)
    assert removed > 0
    assert "before they were reported" in said[0]
    with closing(open_writer(path)) as connection:
        assert used_bytes(connection) <= 1 << 20


def test_waiting_and_refused_sightings_outlive_their_records(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    filled(path, [50, 50, 1])
    with Outbox(path, 24) as outbox:
        outbox.fold()
        before = sum(outbox.counts().values())
        prune(path, settings(), REPORTED, print)
        assert sum(outbox.counts().values()) == before > 0


@pytest.mark.parametrize(
    "lines",
    [
        "window_hours = 0",
        "window_hours = 25\nkeep_days = 1",
        "keep_days = 0",
        "keep_mib = 9\nhard_mib = 8",
        'clients = "some"',
        'misp = { url = "ftp://misp.example" }',
        "misp = { batch = 0 }",
        "misp = { attempts = 0 }",
        f'node = "{"n" * 256}"',
        "unknown = 1",
    ],
)
def test_wrong_settings_are_named(tmp_path: Path, lines: str) -> None:
    config = tmp_path / "inkgate.toml"
    config.write_text(f"[sightings]\n{lines}\n")
    with pytest.raises(SettingsError, match=r"inkgate\.toml: \[sightings\]"):
        load_section(config, "sightings", SightingsSettings)


def test_settings_page_names_every_key_and_its_default() -> None:
    page = (Path(__file__).parents[2] / "docs" / "settings.md").read_text()
    part = page.partition("## [sightings]")[2].partition("\n## [squid_conf]")[0]
    defaults = SightingsSettings()
    for structure in (defaults, defaults.misp, defaults.redis):
        for name in set(msgspec.structs.asdict(structure)) - {"misp", "redis"}:
            assert f"`{name}`" in part, name


def aged(path: Path, days: float) -> None:
    """Make the whole outbox older."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE outbox SET changed = changed - ?", (days * DAY,))
        connection.commit()


def test_refused_sightings_go_by_the_age_of_their_refusal(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    filled(path, [50, 50, 1])
    with Outbox(path, 24) as outbox:
        outbox.fold()
        assert outbox.counts()[ReportState.REFUSED] > 0
        aged(path, 29)
        prune(path, settings(), REPORTED, print)
        assert outbox.counts()[ReportState.REFUSED] > 0
        aged(path, 2)
        prune(path, settings(), REPORTED, print)
        assert outbox.counts()[ReportState.REFUSED] == 0


@pytest.mark.slow
def test_large_outbox_evicts_no_unreported_record(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    Journal(path).append([sighting([f"no-uuid-{n}"], incident=f"IG-{n}") for n in range(9000)])
    with Outbox(path, 24) as outbox:
        while outbox.fold():
            pass
        Journal(path).append([sighting(["u"], incident=f"IG-N{n}") for n in range(2000)])
        said: list[str] = []
        prune(path, settings(keep_mib=1, hard_mib=1), REPORTED, said.append)
        assert outbox.unread() == 2000
        assert not said


def test_nothing_more_is_deleted_once_it_does_not_help(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    filled(path, [1.0] * 600)
    with closing(open_writer(path)) as connection:
        unpack(connection)
        connection.execute("CREATE TABLE large AS SELECT zeroblob(3000000) AS x")
        connection.execute("DELETE FROM sightings WHERE id NOT IN (1, 2, 3, 600)")
    assert prune(path, settings(keep_mib=1, hard_mib=1), REPORTED, print) <= 3


def test_old_journal_gets_an_installation_and_keeps_its_names(tmp_path: Path) -> None:
    path, about = tmp_path / "j.db", sighting([UUID])
    with Outbox(path, 24) as outbox:
        outbox._connection.execute("UPDATE state SET value = ''")
        Journal(path).append([about])
        outbox.fold()
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(
            "DROP TABLE blocks; DROP TABLE state; ALTER TABLE outbox DROP COLUMN failures; "
            "PRAGMA user_version = 2"
        )
    with Outbox(path, 24) as outbox:
        (queued,) = outbox.waiting(9)
        with closing(open_writer(path)) as connection:
            assert len(installation(connection)) == 32
    assert [item.uuid for item in read_items(path, 24, about)] == [queued.uuid]
