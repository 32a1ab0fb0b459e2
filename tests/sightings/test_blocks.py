"""What requests journal: blocks of incidents, and their way to records."""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.reporting import DAY, sighting

from rules.matcher import Match
from rules.message import Message
from sightings.backlog import Backlog
from sightings.block import Block, BlockError, unpacked
from sightings.database import open_writer
from sightings.journal import Journal, JournalError
from sightings.outbox import REPORTED, Outbox
from sightings.records import records, unpack
from sightings.retention import prune
from sightings.settings import SightingsSettings
from sightings.sighting import Sighting

UUIDS = [f"0b7f6a1e-0000-4000-8000-{n:012}" for n in range(300)]
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
ATTRIBUTES = st.lists(
    st.fixed_dictionaries({}, optional={"uuid": TEXTS, "event_id": TEXTS, "comment": TEXTS}),
    min_size=1,
    max_size=20,
).map(tuple)
MATCHES = st.lists(
    st.builds(Match, TEXTS, st.builds(Message, st.sampled_from(["block", "log"]), ATTRIBUTES)),
    max_size=20,
)


def match(number: int = 0) -> Match:
    return Match("domain", Message("block", ({"uuid": UUIDS[number], "event_id": "7"},)))


def block(*incidents: str, moment: float = 1.0) -> bytes:
    made = Block()
    for incident in incidents:
        made.add(moment, incident, "192.0.2.7", "GET", [match()])
    return made.packed()


def named(path: Path) -> list[str]:
    return [s.incident for s in Journal(path).read()]


@given(
    st.lists(st.tuples(st.floats(allow_nan=False), TEXTS, TEXTS, TEXTS, MATCHES), max_size=40),
    TEXTS,
)
def test_what_comes_out_is_what_went_in(
    incidents: list[tuple[float, str, str, str, list[Match]]], node: str
) -> None:
    made = Block()
    expected = []
    for moment, incident, client, method, matches in incidents:
        made.add(moment, incident, client, method, matches)
        expected += [
            Sighting(
                time=moment, incident=incident, indicator_class=name,
                attributes=message.uuids(), events=message.event_ids(), client=client,
                method=method, action=message.action, node=node,
            )
            for name, message in matches
        ]  # fmt: skip
    assert made.incidents == len(incidents)
    assert list(unpacked(made.packed(), node)) == expected


def test_more_than_short_arrays_hold(tmp_path: Path) -> None:
    made = Block()
    large = Message("block", tuple({"uuid": uuid} for uuid in UUIDS))
    for n in range(70_000):
        made.add(1.0, f"IG-{n}", "", "GET", [Match("url", large)] if n == 9 else [match()])
    found = list(unpacked(made.packed(), "n"))
    assert len(found) == 70_000
    assert found[9].attributes == tuple(UUIDS)


def test_a_block_holds_nothing_of_a_message_that_a_record_does_not() -> None:
    made = Block()
    message = Message("block", ({"uuid": UUIDS[0], "comment": "TLP:RED, from Example"},), 3, 9)
    made.add(1.0, "IG-1", "", "GET", [Match("domain", message)])
    assert b"Example" not in made.packed()


@pytest.mark.parametrize(
    ("texts", "matches"),
    [
        (("IG-2", "\udcff", "GET"), [match()]),
        (("IG-2", "", "G\udcff"), [match()]),
        (("IG-2", "", "GET"), [match(), None]),
        (("IG-2", "", "GET"), [match(), Match("domain", Message("block", ({"uuid": "\udc80"},)))]),
    ],
)
def test_incident_that_cannot_be_packed_leaves_the_others(
    texts: tuple[str, str, str], matches: list[Match]
) -> None:
    made = Block()
    made.add(1.0, "IG-1", "", "GET", [match()])
    with pytest.raises((UnicodeEncodeError, TypeError)):
        made.add(1.0, *texts, matches)
    made.add(1.0, "IG-3", "", "GET", [match()])
    assert [s.incident for s in unpacked(made.packed(), "n")] == ["IG-1", "IG-3"]


@given(st.binary(max_size=60) | st.binary(max_size=60).map(lambda b: b"\xdd\0\0\0\1\x95" + b))
def test_bytes_of_all_kinds_raise_nothing_else(data: bytes) -> None:
    with contextlib.suppress(BlockError):
        list(unpacked(data, "n"))


def test_block_that_was_cut_or_has_more_is_refused() -> None:
    whole = block("IG-1", "IG-2")
    assert len(list(unpacked(whole, "n"))) == 2
    for damaged in (*(whole[:n] for n in range(len(whole))), whole + b"\0"):
        with pytest.raises(BlockError):
            list(unpacked(damaged, "n"))


def test_damaged_block_is_named_and_those_before_it_are_told(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    for n in range(8):
        Journal(path).append_block("n", block(f"IG-{n}"))
    Journal(path).append_block("n", b"\xdd\0\0\0\2")
    Journal(path).append_block("n", block("IG-9"))
    with pytest.raises(JournalError, match=r"j\.db: block 9: .*; delete it from the table"):
        named(path)
    with Outbox(path, 24) as outbox:
        with pytest.raises(JournalError, match="block 9"):
            outbox.fold()
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("DELETE FROM blocks WHERE id = 9")
        assert outbox.fold() == 9
    assert named(path) == [*(f"IG-{n}" for n in range(8)), "IG-9"]


def test_readers_see_blocks_without_changing_them(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    journal = Journal(path)
    journal.append([sighting(UUIDS[:1], 1.0, "IG-1")])
    journal.append_block("proxy1", block("IG-2", "IG-3", moment=2.0))
    journal.append_block("proxy2", block("IG-4", moment=3.0))
    assert named(path) == ["IG-1", "IG-2", "IG-3", "IG-4"]
    assert [s.node for s in journal.read()] == ["proxy1", "proxy1", "proxy1", "proxy2"]
    assert [s.incident for s in journal.read(since=2.5)] == ["IG-4"]
    assert [s.incident for s in journal.read(incident="IG-3")] == ["IG-3"]
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM blocks").fetchone() == (2,)


def test_reader_sees_each_once_while_blocks_become_records(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    journal = Journal(path)
    journal.append([sighting(UUIDS[:1], 1.0, "IG-0")])
    for n in range(1, 30):
        journal.append_block("n", block(f"IG-{n}"))
    reading = journal.read()
    seen = [next(reading).incident]
    with closing(open_writer(path)) as connection:
        unpack(connection)
    journal.append_block("n", block("IG-30"))
    seen += [s.incident for s in reading]
    assert seen == [f"IG-{n}" for n in range(30)]
    assert named(path) == [f"IG-{n}" for n in range(31)]


def test_records_of_blocks_follow_those_there_were(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    Journal(path).append([sighting(UUIDS[:1], incident="IG-1")])
    Journal(path).append_block("proxy1", block("IG-2", "IG-3"))
    with closing(open_writer(path)) as connection:
        unpack(connection)
        Journal(path).append_block("proxy1", block("IG-4"))
        unpack(connection)
        unpack(connection)
        origins = [record.origin for record in records(connection)]
        assert connection.execute("SELECT count(*) FROM blocks").fetchone() == (0,)
    assert origins == ["IG-1:1", "IG-2:2", "IG-3:3", "IG-4:4"]


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
import sys
from pathlib import Path
from sightings.database import open_writer
from sightings.records import unpack
connection = open_writer(Path(sys.argv[1]), busy_seconds=60)
print(flush=True)
unpack(connection)
"""


def unpacker(path: Path) -> subprocess.Popen[bytes]:
    process = subprocess.Popen([sys.executable, "-c", UNPACKER, path], stdout=subprocess.PIPE)
    assert process.stdout
    process.stdout.readline()
    return process


def with_many(path: Path) -> list[str]:
    names = [f"IG-{n}" for n in range(6000)]
    for start in range(0, 6000, 60):
        Journal(path).append_block("n", block(*names[start : start + 60]))
    return names


def test_several_who_unpack_at_once_lose_and_double_nothing(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    names = with_many(path)
    processes = [unpacker(path) for _ in range(4)]
    for process in processes:
        process.communicate(timeout=60)
        assert process.returncode == 0
    assert named(path) == names


def test_kill_9_while_unpacking_loses_and_doubles_nothing(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    names = with_many(path)
    for n in range(12):
        process = unpacker(path)
        time.sleep(n * 0.004)
        process.kill()
        process.communicate()
        assert named(path) == names
    with closing(open_writer(path)) as connection:
        unpack(connection)
    assert named(path) == names


def drained(backlog: Backlog) -> list[int]:
    sizes = []
    while found := backlog.take():
        sizes.append(found.incidents)
    return sizes


def test_backlog_gives_what_came_first_first() -> None:
    backlog = Backlog(10_000)
    assert backlog.take() is None
    for n in range(2500):
        backlog.add(f"IG-{n}", "", "GET", [match()])
    assert backlog.has_full
    first = backlog.take()
    assert first
    assert next(unpacked(first.packed(), "")).incident == "IG-0"
    backlog.put_back(first)
    assert drained(backlog) == [1024, 1024, 452]
    assert not backlog.has_full
    assert backlog.take_dropped() == 0


def test_backlog_drops_the_oldest_and_counts_them() -> None:
    backlog = Backlog(3000)
    for n in range(5000):
        backlog.add(f"IG-{n}", "", "GET", [match()])
    found = backlog.take()
    assert found
    assert next(unpacked(found.packed(), "")).incident == "IG-2048"
    backlog.put_back(found)
    assert (backlog.take_dropped(), backlog.take_dropped()) == (2048, 0)
    assert drained(backlog) == [1024, 1024, 904]
