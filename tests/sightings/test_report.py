"""Sightings reach MISP: each once, whatever goes wrong."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from support.misp import Faults, MispServer, Role
from support.reporting import (
    DAY,
    MORNING,
    Killed,
    Reporting,
    Writers,
    counted,
    populated,
    rough,
    sighting,
    truth,
)

pytestmark = pytest.mark.slow


@pytest.fixture
def server() -> Iterator[MispServer]:
    with MispServer(populated(3, 4)) as made:
        yield made


@pytest.fixture
def reporting(server: MispServer) -> Iterator[Reporting]:
    with Reporting(server) as made:
        yield made


def attributes(server: MispServer) -> list[tuple[str, str]]:
    return [(a.uuid, str(a.event.id)) for a in server.misp.attributes.values()]


def test_one_sighting_per_attribute_node_and_day(reporting: Reporting) -> None:
    (a, e), (b, f) = attributes(reporting.server)[::5][:2]
    assert e != f
    reporting.journal.append(
        [
            sighting([a], MORNING + 60, events=(e,)),
            sighting([a], MORNING + 3600, events=(e,)),
            sighting([a], MORNING + DAY, events=(e,)),
            sighting([a], MORNING + 61, events=(e,), node="proxy2"),
            sighting([a, b], MORNING + 62, events=(e, f)),
        ]
    )
    assert reporting.run("report") == "reported 4, refused 0, waiting 0\n"
    day = int(MORNING // DAY)
    assert reporting.told() == sorted(
        [(a, "proxy1", day, "0"), (a, "proxy1", day + 1, "0"), (a, "proxy2", day, "0"),
         (b, "proxy1", day, "0")]
    )  # fmt: skip
    first = min(s.date_sighting for s in reporting.server.misp.sightings.values())
    assert first == MORNING + 60
    assert reporting.run("report") == "reported 0, refused 0, waiting 0\n"
    told = reporting.json("show", "IG-0000000000")[0]["told"]
    assert [(item["state"], item["count"]) for item in told] == [("reported", 3)]


def test_event_of_another_misp_and_no_event_are_looked_up(reporting: Reporting) -> None:
    a, b, c = (uuid for uuid, _ in attributes(reporting.server)[::4])
    reporting.journal.append(
        [sighting([a], events=("4711",)), sighting([b]), sighting([c], events=("x/../y",))]
    )
    reporting.run("report")
    assert {uuid for uuid, *_ in reporting.told()} == {a, b, c}


def test_what_misp_refuses_is_kept_with_a_reason_and_can_be_retried(reporting: Reporting) -> None:
    (a, e), *_ = attributes(reporting.server)
    stranger = str(uuid.uuid4())
    reporting.journal.append([sighting([a, stranger, "no-uuid"], events=(e, e, e))])
    said = reporting.run("report", status=1)
    assert "reported 1, refused 2, waiting 0" in said
    refused = {item["attribute"]: item["reason"] for item in reporting.json("refused")}
    assert refused == {
        stranger: "MISP does not know the attribute, or does not show it to this key",
        "no-uuid": "the rule names an attribute that is no UUID",
    }
    event = next(iter(reporting.server.misp.events.values()))
    made = reporting.server.misp.add_attribute(event, "domain", "late.example")
    reporting.server.misp.attribute_uuids[stranger] = made
    made.uuid = stranger
    name = next(i["uuid"] for i in reporting.json("refused") if i["attribute"] == stranger)
    assert reporting.run("retry", name) == "1 wait again\n"
    assert "reported 1" in reporting.run("report")
    assert "not among the refused" in reporting.run("retry", name, status=1)


def test_away_misp_leaves_all_waiting(server: MispServer) -> None:
    misp = "first_wait = 0.01\nlongest_wait = 0.02\nattempts = 3\ntimeout = 30\n"
    with Reporting(server, misp=misp) as reporting:
        (a, e), *_ = attributes(server)
        reporting.journal.append([sighting([a], events=(e,))])
        server.faults = Faults(1, 1.0, ["500"], limit=10**6, in_a_row=10**6)
        said = reporting.run("report", status=1)
        assert "waits for the next run" in said
        assert server.key not in said
        assert reporting.json("status")[0]["waiting"] == 1
        server.faults = Faults()
        assert "reported 1" in reporting.run("report")


def test_wrong_key_is_said_and_refuses_nothing(reporting: Reporting) -> None:
    (a, e), *_ = attributes(reporting.server)
    reporting.journal.append([sighting([a], events=(e,))])
    (reporting.folder / "misp.key").write_text("wrong-key-0123456789")
    said = reporting.run("report", status=2)
    assert "does not accept the key" in said
    assert "wrong-key" not in said
    assert reporting.json("status")[0]["waiting"] == 1


def test_key_without_the_permission_is_said(reporting: Reporting) -> None:
    (a, e), *_ = attributes(reporting.server)
    reporting.journal.append([sighting([a], events=(e,))])
    reporting.server.keys[reporting.server.key] = Role(perm_sighting=False)
    assert "add sightings" in reporting.run("report", status=2)
    assert reporting.json("status")[0]["waiting"] == 1


@pytest.mark.parametrize("seed", [1, 2])
def test_misp_without_bulk_call_gets_each_once(seed: int) -> None:
    faults = rough(seed, hang_seconds=0.6)
    with (
        MispServer(populated(3, 4), faults, bulk_sightings=False) as server,
        Reporting(server) as reporting,
    ):
        reporting.journal.append(
            [sighting([a], MORNING + n, events=(e,)) for n, (a, e) in enumerate(attributes(server))]
        )
        assert "reported 12, refused 0, waiting 0" in reporting.run("report")
        assert reporting.told() == truth([reporting.journal.path])
        assert faults.made


def test_false_positive_is_told_once(reporting: Reporting) -> None:
    (a, e), *_ = attributes(reporting.server)
    reporting.journal.append([sighting([a], incident="IG-7K3M9QXD2F", events=(e,))])
    assert f"{a}: reported" in reporting.run("false-positive", "ig-7k3m9qxd2f")
    reporting.run("false-positive", "IG-7K3M9QXD2F")
    reporting.run("report")
    assert [kind for *_, kind in reporting.told()] == ["0", "1"]
    told = reporting.json("show", "7K3M9QXD2F")[0]["told"]
    assert {item["what"] for item in told} == {"sighting", "false positive"}


def test_false_positive_waits_for_misp(reporting: Reporting) -> None:
    (a, e), *_ = attributes(reporting.server)
    reporting.journal.append([sighting([a], incident="IG-7K3M9QXD2F", events=(e,))])
    reporting.server.faults = Faults(1, 1.0, ["500"], limit=10**6, in_a_row=10**6)
    assert f"{a}: waiting" in reporting.run("false-positive", "IG-7K3M9QXD2F", status=1)
    reporting.server.faults = Faults()
    reporting.run("report")
    assert [kind for *_, kind in reporting.told()] == ["0", "1"]


def test_show_tells_the_help_desk_where_to_look(reporting: Reporting) -> None:
    (a, e), *_ = attributes(reporting.server)
    client = "192.0.2.1\x1b[2J"
    reporting.journal.append([sighting([a], incident="IG-7K3M9QXD2F", events=(e,), client=client)])
    said = reporting.run("show", "7k3m9qxd2f")
    for part in ("T00:00:00.000Z", "domain", "block", a):
        assert part in said
    assert f"{reporting.server.url}/events/view/{e}" in said
    assert "\x1b" not in said
    assert "no such incident" in reporting.run("show", "IG-0", status=1)


def test_two_reports_at_once_do_not_meet(reporting: Reporting) -> None:
    from inkgate.sightings.report.reporter import only_reporter

    reporting.journal.append([sighting([attributes(reporting.server)[0][0]])])
    with only_reporter(reporting.journal.path) as is_alone:
        assert is_alone
        assert "another" in reporting.run("report", status=2)


def test_kills_faults_and_writers_lose_and_double_nothing() -> None:
    faults = rough(7, rate=0.15)
    with MispServer(populated(20, 10), faults) as server, Reporting(server) as reporting:
        journals = [(reporting.journal.path, "proxy1")] * 4
        writers = Writers(server.misp, reporting.folder, journals, 750)
        killed = Killed(reporting.command("report", "--follow"), server, 5, seed=7)
        killed.wait()
        writers.wait()
        reporting.run("report")
        assert reporting.told() == truth([reporting.journal.path])
        assert len(list(reporting.journal.read())) == 3000
        assert reporting.json("status")[0]["refused"] == 0
        assert counted(reporting.journal.path) == 3000
        assert faults.made
