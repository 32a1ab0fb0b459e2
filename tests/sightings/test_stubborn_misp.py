"""A MISP that fails at some sightings and not at others, or answers nonsense."""

from __future__ import annotations

import sqlite3
import subprocess
import uuid
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from inkgate.sightings.report.outbox import _NAMESPACE
from support.certificates import self_signed
from support.misp import MispServer
from support.misp.answers import Answer
from support.reporting import (
    DAY,
    MORNING,
    Reporting,
    answer_bulk_by,
    populated,
    sighting,
)

FEW = "first_wait = 0.001\nlongest_wait = 0.002\ntimeout = 30.0\nattempts = 4\n"
Real = Callable[[], Answer]


def journalled(reporting: Reporting, first: int = 0) -> None:
    """One match of each attribute that the MISP has."""
    reporting.journal.append(
        [
            sighting([a.uuid], MORNING + n, f"IG-{n}", events=(str(a.event.id),))
            for n, a in enumerate(reporting.server.misp.attributes.values(), first)
        ]
    )


def broken_event(event: str, real: Real) -> Answer:
    return Answer({"message": "An Internal Error Has Occurred."}, 500) if event == "1" else real()


def test_event_at_which_misp_fails_holds_up_no_other() -> None:
    with MispServer(populated(3, 2)) as server, Reporting(server, misp=FEW) as reporting:
        answer_bulk_by(server, broken_event)
        journalled(reporting)
        reporting.run("report", status=1)
        told = {s.attribute.event.id for s in server.misp.sightings.values()}
        assert (told, len(server.misp.sightings)) == ({2, 3}, 4)
        assert reporting.json("status")[0]["waiting"] == 2


@pytest.mark.slow
def test_event_at_which_misp_fails_fills_no_batch() -> None:
    misp = FEW + "batch = 5\n"
    with MispServer(populated(2, 20)) as server, Reporting(server, misp=misp) as reporting:
        answer_bulk_by(server, broken_event)
        journalled(reporting)
        for _ in range(4):
            reporting.run("report", status=1)
        assert len(server.misp.sightings) == 20


@pytest.mark.slow
def test_one_sighting_at_which_misp_fails_is_found_and_refused() -> None:
    with MispServer(populated(1, 8)) as server, Reporting(server, misp=FEW) as reporting:
        bad = list(server.misp.attributes)[3]
        poison = server.misp.attributes[bad].uuid

        def answer(event: str, real: Real) -> Answer:
            sent = server.requests[-1][1]["Sighting"]
            return Answer({}, 500) if any(s["attribute_uuid"] == poison for s in sent) else real()

        answer_bulk_by(server, answer)
        journalled(reporting)
        for n in range(1, 9):  # MISP takes others, or it is not the sighting's fault
            fresh = server.misp.add_event(f"fresh {n}", [("domain", f"f{n}.example")])
            (a,) = [a for a in server.misp.attributes.values() if a.event is fresh]
            reporting.journal.append([sighting([a.uuid], events=(str(fresh.id),))])
            subprocess.run(reporting.command("report"), check=False, capture_output=True)
        (refused,) = reporting.json("refused")
        assert refused["attribute"] == poison
        assert "takes others" in refused["reason"]
        assert len(server.misp.sightings) == 7 + 8
        assert reporting.json("status")[0]["waiting"] == 0


@pytest.mark.slow
def test_misp_that_fails_at_all_refuses_nothing() -> None:
    with MispServer(populated(5, 2)) as server, Reporting(server, misp=FEW) as reporting:
        answer_bulk_by(server, lambda *_: Answer({}, 500))
        journalled(reporting)
        for _ in range(4):
            reporting.run("report", status=1)
        assert reporting.json("status")[0]["waiting"] == 10
        answer_bulk_by(server, lambda _, real: real())
        assert "reported 10" in reporting.run("report")


def test_sighting_stored_at_another_time_of_the_window_is_found() -> None:
    with MispServer(populated(1, 1)) as server, Reporting(server, misp=FEW) as reporting:
        journalled(reporting, first=100)
        reporting.run("report")
        with closing(sqlite3.connect(reporting.journal.path)) as connection:
            # As another reporter of the same stream has it, who saw the window's later part.
            connection.execute("UPDATE outbox SET state = 0, first = first + 7000")
            connection.commit()
        assert "reported 1, refused 0, waiting 0" in reporting.run("report")
        assert len(server.misp.sightings) == 1


def test_lost_answer_before_bulk_gives_way_doubles_nothing() -> None:
    with MispServer(populated(1, 1)) as server, Reporting(server, misp=FEW) as reporting:
        calls: list[str] = []

        def answer(event: str, real: Real) -> Answer:
            calls.append(event)
            if len(calls) == 1:
                real()
                return Answer({}, 502)
            return Answer({"message": "Forbidden"}, 403)

        answer_bulk_by(server, answer)
        journalled(reporting)
        assert "reported 1" in reporting.run("report")
        assert len(server.misp.sightings) == 1


def test_one_404_does_not_end_bulk_that_worked() -> None:
    with MispServer(populated(4, 2)) as server, Reporting(server, misp=FEW) as reporting:
        answer_bulk_by(server, lambda e, real: Answer({}, 404) if e == "2" else real())
        journalled(reporting)
        assert "reported 8" in reporting.run("report")
        bulk = [path for path, _ in server.requests if "bulkSave" in path]
        assert {path.rpartition("/")[2] for path in bulk} == {"1", "2", "3", "4"}
        assert sum("/sightings/add" in path for path, _ in server.requests) == 2


def test_absurd_count_in_an_answer_is_no_count() -> None:
    with MispServer(populated(1, 1)) as server, Reporting(server, misp=FEW) as reporting:

        def answer(event: str, real: Real) -> Answer:
            real()
            return Answer({"success": "9" * 5000 + " sightings added"})

        answer_bulk_by(server, answer)
        journalled(reporting)
        assert "reported 1" in reporting.run("report")


def test_installations_with_one_node_name_do_not_collide() -> None:
    with (
        MispServer(populated(1, 1)) as server,
        Reporting(server, misp=FEW) as one,
        Reporting(server, misp=FEW) as other,
    ):
        journalled(one, first=100)
        journalled(other, first=7000)
        assert "reported 1" in one.run("report")
        assert "reported 1" in other.run("report")
        assert len(server.misp.sightings) == 2


def test_nobody_can_take_a_sightings_uuid_beforehand() -> None:
    with MispServer(populated(1, 1)) as server, Reporting(server, misp=FEW) as reporting:
        (a,) = server.misp.attributes.values()
        about = f"0\0{a.uuid}\0proxy1\0{int(MORNING)}+{DAY}"
        taken = str(uuid.uuid5(_NAMESPACE, about))
        server.misp.add_sighting(a, "2", "elsewhere", int(MORNING) + 5, taken, "OTHER")
        journalled(reporting)
        reporting.run("report")
        assert [s.source for s in server.misp.sightings.values()] == ["elsewhere", "proxy1"]


@pytest.mark.parametrize("status", [401, 408, 429])
@pytest.mark.slow
def test_misp_that_asks_for_a_pause_gets_one(status: int) -> None:
    with MispServer(populated(3, 1)) as server, Reporting(server, misp=FEW) as reporting:
        answer_bulk_by(server, lambda *_: Answer({"message": "Not now."}, status))
        journalled(reporting)
        assert f"status {status}" in reporting.run("report", status=1)
        # One of the three events in each attempt.
        assert sum("bulkSave" in path for path, _ in server.requests) == 4
        answer_bulk_by(server, lambda _, real: real())
        assert "reported 3" in reporting.run("report")


def test_redirect_is_waited_out_and_named() -> None:
    with MispServer(populated(1, 1)) as server, Reporting(server, misp=FEW) as reporting:
        journalled(reporting)
        server.redirect = (302, "/users/login")
        said = reporting.run("report", status=1)
        assert f"MISP redirects to {server.url}/users/login, where" in said
        assert "waits for the next run" in said
        server.redirect = None
        assert "reported 1" in reporting.run("report")


@pytest.mark.parametrize("follow", [[], ["--follow"]])
@pytest.mark.slow
def test_certificate_that_is_not_trusted_needs_the_operator_at_once(
    tmp_path: Path, follow: list[str]
) -> None:
    tls = self_signed(tmp_path)
    with MispServer(populated(1, 1), tls=tls) as server, Reporting(server) as reporting:
        journalled(reporting)
        said = reporting.run("report", *follow, status=2)
        assert "that is not trusted; name the file of its CA in ca_file" in said
        assert server.connections == 1
        assert reporting.json("status")[0]["waiting"] == 1
