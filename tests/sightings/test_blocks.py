"""What is journalled: blocks of incidents, and their way to records."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inkgate.rules.crypto.message import Message
from inkgate.rules.lookup.matcher import Match
from inkgate.sightings.errors import JournalError
from inkgate.sightings.journal.backlog import Backlog
from inkgate.sightings.journal.block import Block, BlockError, Rule, blocks_of, unpacked
from inkgate.sightings.journal.database import open_writer
from inkgate.sightings.journal.journal import Journal
from inkgate.sightings.journal.records import insert, records, unpack
from inkgate.sightings.journal.sighting import Sighting
from inkgate.sightings.report.outbox import REPORTED, Outbox
from inkgate.sightings.report.retention import prune
from inkgate.sightings.settings import SightingsSettings
from support.misp import MispServer
from support.reporting import DAY, Reporting, populated, sighting
from support.small_disk import small_disk

UUIDS = [f"0b7f6a1e-0000-4000-8000-{n:012}" for n in range(300)]
RULE: Rule = ("domain", "block", (UUIDS[0],), ("7",))
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
SIGHTINGS = st.builds(
    Sighting,
    time=st.floats(allow_nan=False, allow_infinity=False),
    incident=TEXTS,
    indicator_class=TEXTS,
    attributes=st.lists(TEXTS, max_size=20).map(tuple),
    client=TEXTS,
    method=TEXTS,
    action=st.sampled_from(["block", "log"]),
    node=st.sampled_from(["proxy1", "proxy2"]),
    events=st.lists(TEXTS, max_size=20).map(tuple),
)


def match(*attributes: dict[str, str]) -> Match:
    return Match("domain", Message("block", attributes or ({"uuid": UUIDS[0], "event_id": "7"},)))


def block(*incidents: str, moment: float = 1.0) -> Block:
    made = Block()
    for incident in incidents:
        made.add(moment, incident, "192.0.2.7", "GET", [RULE])
    return made


def named(path: Path) -> list[str]:
    return [s.incident for s in Journal(path).read()]


def count_blocks(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("SELECT count(*) FROM blocks").fetchone()[0])


def unpack_all(path: Path) -> None:
    with closing(open_writer(path)) as connection:
        while unpack(connection):
            pass


@given(st.lists(SIGHTINGS, max_size=40))
@pytest.mark.slow
def test_what_comes_out_is_what_went_in(sightings: list[Sighting]) -> None:
    blocks = [(node, made.packed()) for node, made in blocks_of(sightings)]
    assert [s for node, data in blocks for s in unpacked(data, node)] == sightings


def test_rules_of_one_incident_are_one_record_each() -> None:
    made = Block()
    made.add(2.0, "IG-1", "", "GET", [RULE, ("url", "log", (), ())])
    made.add(3.0, "IG-2", "", "GET", [])
    assert made.incidents == 2
    found = unpacked(made.packed(), "n")
    assert [(s.incident, s.indicator_class, s.action) for s in found] == [
        ("IG-1", "domain", "block"),
        ("IG-1", "url", "log"),
    ]


def test_more_than_short_arrays_hold() -> None:
    made = Block()
    for n in range(70_000):
        rule = ("url", "block", tuple(UUIDS), ()) if n == 9 else RULE
        made.add(1.0, f"IG-{n}", "", "GET", [rule])
    found = unpacked(made.packed(), "n")
    assert len(found) == 70_000
    assert found[9].attributes == tuple(UUIDS)


def test_blocks_have_bounds() -> None:
    small = [sighting(UUIDS[:1], incident=f"IG-{n}") for n in range(2100)]
    assert [made.incidents for _, made in blocks_of(small)] == [1024, 1024, 52]
    large = [sighting(UUIDS, incident=f"IG-{n}") for n in range(200)]
    sizes = [made.size for _, made in blocks_of(large)]
    assert len(sizes) == 3
    assert max(sizes) < (1 << 20) + 20_000


def test_a_block_holds_nothing_of_a_message_that_a_record_does_not() -> None:
    backlog = Backlog(1 << 20)
    attribute = {"uuid": UUIDS[0], "event_id": "7", "comment": "TLP:RED, from Example"}
    backlog.add("IG-1", "", "GET", [match(attribute)])
    made = backlog.take()
    assert made
    assert UUIDS[0].encode() in made.packed()
    assert b"Example" not in made.packed()


@pytest.mark.parametrize(
    ("texts", "matches"),
    [
        (("IG-\udcff", "", "GET"), [match()]),
        (("IG-2", "", "GET"), [match(), None]),
        (("IG-2", "", "GET"), [match(), match({"uuid": "\udc80"})]),
    ],
)
def test_incident_that_cannot_be_packed_leaves_the_others(
    texts: tuple[str, str, str], matches: list[Match]
) -> None:
    backlog = Backlog(1 << 20)
    backlog.add("IG-1", "", "GET", [match()])
    with pytest.raises((UnicodeEncodeError, TypeError)):  # None has no class
        backlog.add(*texts, matches)
    backlog.add("IG-3", "", "GET", [match()])
    made = backlog.take()
    assert made
    assert [s.incident for s in unpacked(made.packed(), "n")] == ["IG-1", "IG-3"]


@given(st.binary(max_size=60) | st.binary(max_size=60).map(lambda b: b"\xdd\0\0\0\1\x95" + b))
def test_bytes_of_all_kinds_raise_nothing_else(data: bytes) -> None:
    with contextlib.suppress(BlockError):
        unpacked(data, "n")


def test_block_that_was_cut_or_has_more_is_refused() -> None:
    whole = block("IG-1", "IG-2").packed()
    assert len(unpacked(whole, "n")) == 2
    for damaged in (*(whole[:n] for n in range(len(whole))), whole + b"\0"):
        with pytest.raises(BlockError):
            unpacked(damaged, "n")


def with_a_damaged_block(path: Path, attribute: str = UUIDS[0]) -> Path:
    """The fifth one of eight."""
    for n in range(1, 9):
        made = Block()
        made.add(time.time(), f"IG-{n}", "", "GET", [("domain", "block", (attribute,), ("1",))])
        Journal(path).append_block("n", made)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE blocks SET data = substr(data, 1, 20) WHERE id = 5")
    return path


REST = ["IG-1", "IG-2", "IG-3", "IG-4", "IG-6", "IG-7", "IG-8"]


def test_damaged_block_is_put_aside_and_the_rest_goes_on(tmp_path: Path) -> None:
    path = with_a_damaged_block(tmp_path / "j.db")
    journal = Journal(path)
    assert named(path) == REST
    assert journal.damaged() == 1
    with Outbox(path, 24) as outbox:
        assert outbox.unread() == 7
        assert outbox.fold() == 7
        assert outbox.fold() == 0
    assert named(path) == REST
    said: list[str] = []
    for _ in range(2):
        prune(path, SightingsSettings(keep_days=1), None, said.append)
        assert journal.damaged() == 1
    assert said == [said[0]] * 2
    assert "j.db: 1 blocks of incidents are damaged" in said[0]
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE blocks SET time = time - 2 * 86400")
    prune(path, SightingsSettings(keep_days=1), None, said.append)
    assert journal.damaged() == 0


@pytest.mark.parametrize("journal", ["sightings.db", "redis://127.0.0.1:1"])
@pytest.mark.slow
def test_commands_go_on_after_a_damaged_block(journal: str) -> None:
    misp = populated(1, 1)
    (attribute,) = misp.attributes.values()
    lines = f'journal = "{journal}"'
    with MispServer(misp) as server, Reporting(server, sightings=lines) as reporting:
        path = with_a_damaged_block(reporting.folder / "sightings.db", attribute.uuid)
        assert reporting.json("status")[0]["damaged_blocks"] == 1
        assert attribute.uuid in reporting.run("show", "IG-8")
        if journal == "sightings.db":
            assert reporting.run("list").count("IG-") == 7
            assert "reported 1" in reporting.run("report")
        assert "damaged" in reporting.run("prune")
        assert reporting.json("status")[0]["damaged_blocks"] == 1
        assert count_blocks(path) == 1


def test_moment_that_is_none_is_damage() -> None:
    for moment in (float("inf"), float("nan")):
        with pytest.raises(BlockError):
            unpacked(block("IG-1", moment=moment).packed(), "n")


def test_readers_see_blocks_without_changing_them(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    journal = Journal(path)
    journal.append([sighting(UUIDS[:1], 1.0, "IG-1")])
    unpack_all(path)
    journal.append_block("proxy1", block("IG-2", "IG-3", moment=2.0))
    journal.append_block("proxy2", block("IG-4", moment=3.0))
    assert named(path) == ["IG-1", "IG-2", "IG-3", "IG-4"]
    assert [s.node for s in journal.read()] == ["proxy1", "proxy1", "proxy1", "proxy2"]
    assert [s.incident for s in journal.read(since=2.5)] == ["IG-4"]
    assert [s.incident for s in journal.read(incident="IG-3")] == ["IG-3"]
    assert count_blocks(path) == 2


def test_reader_sees_each_once_while_blocks_become_records(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    journal = Journal(path)
    journal.append([sighting(UUIDS[:1], 1.0, "IG-0")])
    unpack_all(path)
    for n in range(1, 30):
        journal.append_block("n", block(f"IG-{n}"))
    reading = journal.read()
    seen = [next(reading).incident]
    unpack_all(path)
    journal.append_block("n", block("IG-30"))
    seen += [s.incident for s in reading]
    assert seen == [f"IG-{n}" for n in range(30)]
    assert named(path) == [f"IG-{n}" for n in range(31)]


def test_count_of_what_is_unread_sees_each_once_while_blocks_become_records(
    tmp_path: Path,
) -> None:
    path = tmp_path / "j.db"
    Journal(path).append([sighting(UUIDS[:1], incident=f"IG-{n}") for n in range(3)])
    with Outbox(path, 24) as outbox:
        assert outbox.unread() == 3
        unpack_all(path)
        Journal(path).append_block("n", block("IG-3", "IG-4"))
        assert outbox.unread() == 5
        assert count_blocks(path) == 1


def test_records_of_blocks_follow_those_there_were(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    with closing(open_writer(path)) as connection:
        insert(connection, [(None, sighting(UUIDS[:1], incident="IG-1"))])
        Journal(path).append_block("proxy1", block("IG-2", "IG-3"))
        assert unpack(connection)
        Journal(path).append_block("proxy1", block("IG-4"))
        assert unpack(connection)
        assert not unpack(connection)
        origins = [record.origin for record in records(connection)]
    assert origins == ["IG-1:1", "IG-2:2", "IG-3:3", "IG-4:4"]


def test_steps_have_bounds(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    large = [sighting(UUIDS, incident=f"IG-L{n}") for n in range(400)]
    Journal(path).append(large)
    for n in range(600):
        Journal(path).append_block("n", block(f"IG-{n}"))
    left = [count_blocks(path)]
    with closing(open_writer(path)) as connection:
        while unpack(connection):
            left.append(count_blocks(path))
    assert left == [605, 604, 603, 602, 601, 600, 100, 0]


def test_blocks_are_folded_counted_and_pruned(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    old = time.time() - 50 * DAY
    Journal(path).append_block("n", block("IG-1", "IG-2", moment=old))
    with Outbox(path, 24) as outbox:
        assert outbox.unread() == 2
        assert outbox.fold() == 2
        assert outbox.fold() == 0
        Journal(path).append_block("n", block("IG-3", moment=old))
        assert prune(path, SightingsSettings(keep_days=30), REPORTED, print) == 2
        assert outbox.fold() == 1
        (item,) = outbox.waiting(9)
    assert item.count == 3
    assert item.attribute == UUIDS[0]


UNPACKER = """
import os, sys
from pathlib import Path
from inkgate.sightings.journal.database import open_writer
from inkgate.sightings.journal.records import unpack
connection = open_writer(Path(sys.argv[1]), busy_seconds=60)
left = int(sys.argv[2])
def die_in_time(statement):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), 9)
if left:
    connection.set_trace_callback(die_in_time)
print(flush=True)
sys.stdin.readline()
while unpack(connection):
    pass
"""


def unpacker(path: Path, statements: int = 0) -> subprocess.Popen[Any]:
    """One that is ready, and dies before so many statements more."""
    process = subprocess.Popen(
        [sys.executable, "-c", UNPACKER, path, str(statements)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout
    process.stdout.readline()
    return process


@pytest.mark.slow
def test_several_who_unpack_at_once_lose_and_double_nothing(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    names = [f"IG-{n}" for n in range(12_000)]
    journal = Journal(path)
    for start in range(0, len(names), 4):
        journal.append_block("n", block(*names[start : start + 4]))
    processes = [unpacker(path) for _ in range(4)]
    for process in processes:
        assert process.stdin
        process.stdin.write(b"\n")
        process.stdin.flush()
    for process in processes:
        process.communicate(timeout=60)
        assert process.returncode == 0
    assert named(path) == names
    assert count_blocks(path) == 0


@pytest.mark.slow
def test_kill_9_before_any_statement_loses_and_doubles_nothing(tmp_path: Path) -> None:
    statements = 0
    while True:
        statements += 1
        path = tmp_path / f"{statements}.db"
        Journal(path).append_block("n", block("IG-1", "IG-2"))
        Journal(path).append_block("n", block("IG-3"))
        process = unpacker(path, statements)
        process.communicate(b"\n", timeout=60)
        assert named(path) == ["IG-1", "IG-2", "IG-3"]
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL
        unpack_all(path)
        assert named(path) == ["IG-1", "IG-2", "IG-3"]
    # BEGIN, three INSERT, two DELETE, COMMIT at the least.
    assert statements > 7


@pytest.mark.slow
def test_nearly_full_disk_is_made_room_on(tmp_path: Path) -> None:
    with small_disk(tmp_path / "small", 12) as folder:
        path, filling = folder / "j.db", folder / "filling"
        journal = Journal(path)
        journal.append([sighting(UUIDS[:1], 1.0, f"IG-{n}") for n in range(16_000)])
        unpack_all(path)
        journal.append([sighting(UUIDS[:1], 1.0, f"IG-N{n}") for n in range(16_000)])
        journal.close()
        disk = os.statvfs(folder)
        filling.write_bytes(bytes(disk.f_bavail * disk.f_frsize - (3 << 19)))
        for _ in range(9):
            with contextlib.suppress(JournalError):
                prune(path, SightingsSettings(keep_days=1), None, print)
        assert count_blocks(path) == 0
        assert named(path) == ["IG-N15999"]


def drained(backlog: Backlog) -> list[int]:
    sizes = []
    while found := backlog.take():
        sizes.append(found.incidents)
    return sizes


def test_backlog_gives_what_came_first_first() -> None:
    backlog = Backlog(1 << 20)
    assert backlog.is_empty
    assert backlog.take() is None
    for n in range(2500):
        backlog.add(f"IG-{n}", "", "GET", [match()])
    assert backlog.has_full
    first = backlog.take()
    assert first
    assert unpacked(first.packed(), "")[0].incident == "IG-0"
    backlog.put_back(first)
    assert drained(backlog) == [1024, 1024, 452]
    assert backlog.is_empty
    assert not backlog.has_full
    assert backlog.take_dropped() == 0


def test_backlog_drops_the_oldest_and_counts_them() -> None:
    backlog = Backlog(3 * 1024 * block("IG-1000").size)
    for n in range(1000, 6000):
        backlog.add(f"IG-{n}", "192.0.2.7", "GET", [match()])
    found = backlog.take()
    assert found
    assert unpacked(found.packed(), "")[0].incident == "IG-2024"
    backlog.put_back(found)
    assert (backlog.take_dropped(), backlog.take_dropped()) == (1024, 0)
    assert drained(backlog) == [1024, 1024, 1024, 904]
