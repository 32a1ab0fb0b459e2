"""A journal whose owner has put lies into it: one line and status 2, never a traceback."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from support.installation import Installation, attribute

# A process or several for each test.
pytestmark = pytest.mark.slow

LIES = {
    "no id": "DELETE FROM state",
    "state": (
        "INSERT INTO outbox (uuid, type, attribute, event, node, first, last, count, state, "
        "changed) VALUES ('u', 0, 'a', '', 'n', 0, 0, 1, 77, 0)"
    ),
    "no table": "DROP TABLE outbox",
}


@pytest.mark.parametrize("lie", LIES)
def test_forged_journal_is_said_in_one_line(installation: Installation, lie: str) -> None:
    installation.add("listed", attribute("domain", "listed.example"))
    installation.refresh()
    assert installation.run("inkgate-sightings", "status").returncode == 0
    with closing(sqlite3.connect(installation.folder / "run/sightings.db")) as journal, journal:
        journal.execute(LIES[lie])
    for command in ("status", "list", "refused", "prune"):
        done = installation.run("inkgate-sightings", command)
        assert done.returncode in (0, 2), done.stderr
        assert "Traceback" not in done.stderr, (command, done.stderr)
        assert done.stderr.count("\n") == (done.returncode == 2), (command, done.stderr)
