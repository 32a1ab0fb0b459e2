"""What the check through the proxy met is told to nobody, on whatever way it comes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from inkgate.rules.crypto.message import Message
from inkgate.rules.lookup.matcher import Match
from inkgate.sightings.journal.backends.relay import Copy, Drain
from inkgate.sightings.journal.backlog import Backlog
from inkgate.sightings.journal.block import unpacked
from inkgate.sightings.journal.database import open_reader
from inkgate.sightings.journal.journal import Journal
from inkgate.sightings.journal.records import records
from inkgate.sightings.report.outbox import Outbox, ReportState
from support.misp import MispServer
from support.reporting import Reporting, populated, sighting

UUID = "00000000-0000-4000-8000-000000000001"


@pytest.fixture
def reporting() -> Iterator[Reporting]:
    with MispServer(populated(1, 2)) as server, Reporting(server) as made:
        yield made


class MemoryStore:
    """Stands for the shared store: what was added to it."""

    def __init__(self) -> None:
        self.added: list[Copy] = []

    def server(self) -> str:
        return "one"

    def mark(self, offered: str) -> str:
        return "mark"

    def add(self, copies: Sequence[Copy]) -> None:
        assert copies, "nothing to add is not worth a request"
        self.added += copies

    def prepare(self) -> None:
        raise NotImplementedError

    def installation(self, offered: str) -> str:
        raise NotImplementedError

    def take(self, count: int) -> list[tuple[bytes, Copy | None]]:
        raise NotImplementedError

    def put_aside(self, names: Sequence[bytes]) -> None:
        raise NotImplementedError

    def acknowledge(self, names: Sequence[bytes]) -> None:
        raise NotImplementedError


def block_of(*messages: Message) -> list[tuple[str, str, tuple[str, ...], tuple[str, ...]]]:
    backlog = Backlog(1 << 20)
    backlog.add("IG-1", "", "GET", [Match("domain", message) for message in messages])
    made = backlog.take()
    assert made
    return [
        (s.indicator_class, s.action, s.attributes, s.events) for s in unpacked(made.packed(), "n")
    ]


def test_canaries_are_kept_apart_and_hide_nothing_that_is_listed() -> None:
    real = Message("block", ({"uuid": UUID, "event_id": "7"},))
    canary = Message("block", ({"comment": "canary"},), canary=True)
    apart = ("domain", "canary", (), ())
    listed = ("domain", "block", (UUID,), ("7",))
    assert block_of(real) == [listed]
    assert block_of(canary) == [apart]
    assert block_of(real, canary) == [listed, apart]
    assert block_of(canary, real) == [apart, listed]


def test_canary_is_never_folded_into_the_outbox(tmp_path: Path) -> None:
    """Not even one that names an attribute, which no version of ours writes."""
    journal = Journal(tmp_path / "j.db")
    journal.append([sighting([UUID], action="canary"), sighting([UUID], incident="IG-2")])
    journal.close()
    with Outbox(tmp_path / "j.db", 24) as outbox:
        while outbox.fold():
            pass
        assert outbox.unread() == 0
        assert outbox.counts()[ReportState.WAITING] == 1
        (item,) = outbox.waiting(10, 1.0, 1.0)
        assert item.count == 1
        assert outbox.add_false_positive(sighting([UUID], action="canary"), 1.0) == []


def test_drain_keeps_them_on_this_proxy_and_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    journal = Journal(path)
    seen = [sighting([UUID], incident=f"IG-{n}", action="canary" if n % 3 else "block")
            for n in range(1500)]  # fmt: skip
    journal.append([*seen, *(sighting([], incident=f"IG-c{n}", action="canary")
                             for n in range(1200))])  # fmt: skip
    journal.close()
    store = MemoryStore()
    with Drain(path, store) as drain:
        while drain.step():
            pass
    assert [s for _, s in store.added] == [s for s in seen if s.action == "block"]
    with closing(open_reader(path)) as connection:
        assert len(list(records(connection))) == 2700


@pytest.mark.slow
def test_list_hides_them_unless_it_is_asked(reporting: Reporting) -> None:
    reporting.journal.append(
        [sighting([], incident="IG-C", action="canary"), sighting([UUID], incident="IG-R")]
    )
    assert [r["incident"] for r in reporting.json("list")] == ["IG-R"]
    assert [r["incident"] for r in reporting.json("list", "--canaries")] == ["IG-C", "IG-R"]
    assert [r["incident"] for r in reporting.json("list", "--incident", "IG-C")] == ["IG-C"]
    assert "the check through the proxy" in reporting.run("show", "IG-C")
    assert "the check through the proxy" not in reporting.run("show", "IG-R")


@pytest.mark.slow
def test_misp_is_not_told(reporting: Reporting) -> None:
    known = next(iter(reporting.server.misp.attributes.values()))
    reporting.journal.append([sighting([known.uuid], action="canary")])
    assert "reported 0, refused 0, waiting 0\n" in reporting.run("report")
    assert reporting.told() == []
