"""A journal on a full disk: what makes room has room, and a helper keeps to hard_mib."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from inkgate.sightings.journal.database import open_writer, transaction
from inkgate.sightings.journal.journal import Journal
from inkgate.sightings.journal.records import used_bytes
from inkgate.sightings.journal.reserve import RESERVE_BYTES, reserve_of
from support.helper_process import HelperProcess
from support.installation import Installation, attribute
from support.small_disk import small_disk
from support.status import status, wait_for_now
from support.waiting import wait_until

pytestmark = pytest.mark.slow

_ROW = """
    INSERT INTO sightings (time, incident, class, attributes, client, method, action, node, events)
    VALUES (?, ?, 'domain', '[]', ?, 'GET', 'block', 'proxy.test', '[]')
"""


@pytest.fixture
def journal(installation: Installation, tmp_path: Path) -> Iterator[Path]:
    """A journal on a file system of its own, of 96 MiB."""
    with small_disk(tmp_path / "disk", 96) as place:
        text = installation.config.read_text().replace('"run/sightings.db"', f'"{place}/s.db"')
        kept = "[sightings]\nkeep_mib = 1\nhard_mib = 1\nkeep_days = 1\n"
        installation.config.write_text(text.replace("[sightings]\n", kept))
        yield place / "s.db"


def fill(journal: Path) -> None:
    """Leave no room on the journal's disk."""
    with (journal.parent / "filling").open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            while True:
                try:
                    file.write(bytes(size))
                except OSError:
                    break
    assert os.statvfs(journal.parent).f_bavail == 0


def rows(journal: Path, table: str) -> int:
    with closing(open_writer(journal)) as connection:
        return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


def test_prune_on_a_full_disk(installation: Installation, journal: Path) -> None:
    with closing(open_writer(journal)) as connection, transaction(connection):
        for number in range(10_000):
            connection.execute(_ROW, (number, f"INC-{number}", "c" * 300))
    kept = reserve_of(journal)
    kept.write_bytes(bytes(RESERVE_BYTES))
    fill(journal)
    done = installation.run("inkgate-sightings", "prune")
    assert (done.returncode, done.stderr) == (0, "")
    assert "removed 9999" in done.stdout
    assert kept.stat().st_blocks * 512 >= RESERVE_BYTES // 2
    # What comes now is written where the old was.
    with closing(open_writer(journal)) as connection, transaction(connection):
        connection.execute(_ROW, (1, "INC-new", "c" * 300))
        assert used_bytes(connection) < 1 << 20


def test_prune_makes_the_reserve_where_there_is_room(
    installation: Installation, journal: Path
) -> None:
    open_writer(journal).close()
    kept = reserve_of(journal)
    assert installation.run("inkgate-sightings", "prune").returncode == 0
    assert kept.stat().st_blocks * 512 >= RESERVE_BYTES
    assert kept.stat().st_mode & 0o777 == 0o640
    kept.unlink()
    (journal.parent / "large").write_bytes(bytes(70 << 20))
    assert installation.run("inkgate-sightings", "prune").returncode == 0
    assert not kept.exists()


def test_helper_keeps_to_hard_mib_on_a_full_disk(installation: Installation, journal: Path) -> None:
    installation.add("listed", attribute("domain", "listed.example"))
    installation.refresh()
    with closing(open_writer(journal)) as connection, transaction(connection):
        for number in range(4000):
            connection.execute(
                "INSERT INTO blocks (time, node, data) VALUES (?, 'proxy.test', ?)",
                (number, bytes(1000)),
            )
    reserve_of(journal).write_bytes(bytes(RESERVE_BYTES))
    fill(journal)
    helper = HelperProcess(installation)
    try:
        assert helper.ask("http://listed.example/") == [b"OK"]
        wait_until(lambda: status(installation).count("journal-cut"), "the journal to be cut")
        wait_for_now(installation, "journal-failed", lasts=False)
        wait_until(lambda: newest(journal) == 4001, "the incident")
    finally:
        log = helper.close()
    assert ": critical: journal-cut: " in log
    with closing(open_writer(journal)) as connection:
        assert used_bytes(connection) <= 1 << 20
    assert reserve_of(journal).stat().st_size >= 1 << 20


def test_reserve_of_a_journal_that_stays_too_large_is_made_whole_again(
    installation: Installation, journal: Path
) -> None:
    with closing(open_writer(journal)) as connection, transaction(connection):
        # One row is larger than what may be kept, and the newest is never removed.
        connection.execute(
            "INSERT INTO blocks (time, node, data) VALUES (1, 'proxy.test', ?)", (bytes(2 << 20),)
        )
    kept = reserve_of(journal)
    kept.write_bytes(bytes(1 << 20))
    written = Journal(journal)
    assert written.keep_below(1 << 20) == 0
    written.close()
    assert kept.stat().st_blocks * 512 >= RESERVE_BYTES


def test_log_of_a_journal_counts_as_its_size(installation: Installation, journal: Path) -> None:
    with closing(open_writer(journal)) as connection:
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        for number in range(2000):
            connection.execute(
                "INSERT INTO blocks (time, node, data) VALUES (?, 'proxy.test', ?)",
                (number, bytes(1000)),
            )
        assert journal.stat().st_size < 1 << 20
        written = Journal(journal)
        assert written.keep_below(1 << 20) > 0
        written.close()
        assert used_bytes(connection) <= 1 << 20


def newest(journal: Path) -> int:
    with closing(open_writer(journal)) as connection:
        return int(connection.execute("SELECT max(id) FROM blocks").fetchone()[0])


def test_incidents_wait_while_the_disk_is_full(installation: Installation, journal: Path) -> None:
    installation.add("listed", attribute("domain", "listed.example"))
    installation.refresh()
    fill(journal)
    helper = HelperProcess(installation)
    try:
        assert helper.ask("http://listed.example/") == [b"OK"]
        wait_for_now(installation, "journal-failed")
        (journal.parent / "filling").unlink()
        wait_for_now(installation, "journal-failed", lasts=False)
        assert rows(journal, "blocks") == 1
    finally:
        log = helper.close()
    assert ": critical: journal-failed: " in log
