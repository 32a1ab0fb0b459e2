"""Each end that docs/sightings.md promises, with a MISP that behaves as a real one."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from support import misp_scenarios as scenarios
from support.misp import Facts, Instance, MispServer, Role
from support.misp.answers import Answer
from support.misp_scenarios import (
    ALL_TOLD,
    FEW,
    NOT_SAVED,
    OTHER,
    answer_with,
    event_of,
    lose_answers,
    reasons,
    seen,
    told_once,
    uuids,
)
from support.reporting import Killed, Reporting, sighting

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("policy", [0, 1, 2, 3])
def test_lost_answer_about_an_event_of_others(policy: int) -> None:
    """With policy 3 MISP never shows what was told: it shows nothing else of ours either."""
    with MispServer(instance=Instance(sightings_policy=policy)) as server:
        told_before, event = event_of(server, 1, OTHER), event_of(server, 3, OTHER)
        with Reporting(server, misp=FEW) as reporting:
            seen(reporting, told_before)
            assert ALL_TOLD.format(1) in reporting.run("report")
            lose_answers(server, "bulkSave")
            seen(reporting, event)
            assert ALL_TOLD.format(3) in reporting.run("report")
        told_once(server, [*uuids(server, told_before), *uuids(server, event)])


def test_misp_that_loads_no_sightings_is_believed_when_it_says_true() -> None:
    with MispServer(instance=Instance(loads_sightings=False)) as server:
        event = event_of(server, 4)
        gone, *_ = server.misp.attributes_of(event)
        with Reporting(server, misp=FEW) as reporting:
            seen(reporting, event)
            # Three are new, so MISP says true, and fewer than it was sent.
            server.misp.delete(gone, hard=True)
            reporting.run("report", status=1)
            assert reporting.json("status")[0]["waiting"] == 0
            assert reporting.json("status")[0]["reported"] == 3
            lose_answers(server, "bulkSave")
            other = event_of(server, 5, OTHER)
            seen(reporting, other)
            assert ALL_TOLD.format(5) in reporting.run("report")
        told_once(server, [*uuids(server, event), *uuids(server, other)])


def test_misp_that_loads_no_sightings_is_not_believed_when_it_says_false() -> None:
    instance = Instance(loads_sightings=False, invalid_sources={"proxy9"})
    with MispServer(instance=instance) as server:
        event = event_of(server)
        with Reporting(server, misp=FEW) as reporting:
            seen(reporting, event)
            reporting.run("report")
            first = uuids(server, event)[0]
            reporting.journal.append([sighting([first], events=(str(event.id),), node="proxy9")])
            for _ in range(8):
                reporting.run("report", status=1)
                if reasons(reporting):
                    break
            assert reasons(reporting) == {first: NOT_SAVED}


@pytest.mark.parametrize("status", [302, 405, 503])
def test_maintenance_in_each_form_is_waited_out(status: int) -> None:
    with MispServer(instance=Instance(maintenance_status=status)) as server:
        scenarios.maintenance(server)


@pytest.mark.parametrize("path", ["bulkSave", "/sightings/add"])
def test_maintenance_of_one_call_refuses_nothing(path: str) -> None:
    closed = Answer({"message": "Maintenance"}, 405)
    with MispServer(bulk_sightings=path == "bulkSave") as server:
        event = event_of(server)
        before = list(server._api._routes)
        answer_with(server, path, closed)
        with Reporting(server, misp=FEW) as reporting:
            seen(reporting, event)
            for _ in range(3):
                assert "status 405" in reporting.run("report", status=1)
            assert reporting.json("status")[0]["waiting"] == 3
            server._api._routes = before
            assert ALL_TOLD.format(3) in reporting.run("report")
        told_once(server, uuids(server, event))


@pytest.mark.parametrize("role", [Role(read_only=True), Role(perm_sighting=False)])
@pytest.mark.parametrize("bulk", [True, False])
def test_key_that_may_not_add_needs_the_operator(role: Role, bulk: bool) -> None:
    with MispServer(bulk_sightings=bulk) as server:
        event = event_of(server)
        server.keys[server.key] = role
        with Reporting(server, misp=FEW) as reporting:
            seen(reporting, event)
            said = reporting.run("report", status=2)
            assert "does not let the owner of this key add sightings" in said
            assert reporting.json("status")[0]["waiting"] == 3
            server.keys[server.key] = Role()
            assert ALL_TOLD.format(3) in reporting.run("report")


def test_key_that_may_synchronize_alone_is_enough() -> None:
    with MispServer() as server:
        event = event_of(server)
        server.keys[server.key] = Role(perm_sighting=False, perm_sync=True)
        with Reporting(server, misp=FEW) as reporting:
            seen(reporting, event)
            assert reporting.run("report") == ALL_TOLD.format(3)


@pytest.mark.parametrize("bulk", [True, False])
def test_source_at_which_misp_fails_is_refused_and_holds_up_nothing(bulk: bool) -> None:
    """All of one event wait in one request."""
    with MispServer(bulk_sightings=bulk, instance=Instance(failing_sources={"bad"})) as server:
        event = event_of(server, 20)
        with Reporting(server, misp=FEW) as reporting:
            first = uuids(server, event)[0]
            reporting.journal.append([sighting([first], events=(str(event.id),), node="bad")])
            seen(reporting, event)
            for n in range(9):
                reporting.run("report", status=1)
                if reasons(reporting):
                    break
                fresh = event_of(server, 1, f"NEW{n}")
                seen(reporting, fresh)
            assert list(reasons(reporting)) == [first]
            assert "takes others" in reasons(reporting)[first]
            assert reporting.json("status")[0]["waiting"] == 0
        assert not set(uuids(server, event)) - {
            s.attribute.uuid for s in server.misp.sightings.values()
        }


def test_those_at_which_misp_fails_do_not_keep_their_place_before_others() -> None:
    """Three failures in a row end a pass, so that others must come first in the next one."""
    with MispServer(instance=Instance(failing_sources={"bad"})) as server:
        bad = [event_of(server, 1, f"BAD{n}") for n in range(4)]
        event = event_of(server)
        with Reporting(server, misp=FEW) as reporting:
            for one in bad:
                seen(reporting, one, node="bad")
            seen(reporting, event)
            server.instance.is_live = False
            reporting.run("report", status=1)
            server.instance.is_live = True
            with closing(sqlite3.connect(reporting.journal.path)) as connection:
                # As after a network that failed while MISP took others.
                connection.execute("UPDATE outbox SET failures = 2 WHERE node = 'proxy1'")
                connection.commit()
            reporting.run("report", status=1)
            assert reporting.json("status")[0]["reported"] == 3
        told_once(server, uuids(server, event))


def test_source_that_is_too_long_is_refused_before_misp_is_asked() -> None:
    with MispServer() as server:
        event = event_of(server)
        with Reporting(server, misp=FEW) as reporting:
            seen(reporting, event, node="n" * 256)
            seen(reporting, event, node="n" * 255)
            assert "reported 3, refused 3, waiting 0" in reporting.run("report", status=1)
            assert {i["node"] for i in reporting.json("refused")} == {"n" * 256}
            assert "more than 255 characters" in next(iter(reasons(reporting).values()))


def test_request_that_takes_misp_too_long_is_parted() -> None:
    misp = "first_wait = 0.001\nlongest_wait = 0.002\ntimeout = 0.3\nattempts = 4\nbatch = 100\n"
    with MispServer(instance=Instance(slow_sightings=30)) as server:
        event = event_of(server, 100)
        with Reporting(server, misp=misp) as reporting:
            seen(reporting, event)
            assert ALL_TOLD.format(100) in reporting.run("report")
        told_once(server, uuids(server, event))


def test_request_size_that_works_grows_again() -> None:
    from inkgate.sightings.report.request_size import RequestSize

    size = RequestSize(200)
    size.failed(200)
    assert size.now == 50
    size.worked(10)
    assert size.now == 50
    for _ in range(3):
        size.worked(size.now)
    assert size.now == 200
    size.too_large(200)
    size.failed(100)
    for _ in range(5):
        size.worked(size.now)
    assert size.now == 100


def test_server_in_front_that_takes_not_even_one_refuses_nothing() -> None:
    with MispServer() as server:
        event = event_of(server)
        server.instance.most_bytes = 10
        with Reporting(server, misp=FEW) as reporting:
            seen(reporting, event)
            assert "status 413" in reporting.run("report", status=1)
            assert reporting.json("status")[0]["waiting"] == 3
            server.instance.most_bytes = 0
            assert ALL_TOLD.format(3) in reporting.run("report")


@pytest.mark.parametrize("said", [{}, {"success": "ok"}, {"saved": "maybe"}])
def test_answer_that_does_not_say_what_was_saved_is_waited_out(said: dict[str, str]) -> None:
    with MispServer() as server:
        event = event_of(server)
        before = list(server._api._routes)
        answer_with(server, "bulkSave", Answer(said))
        with Reporting(server, misp=FEW) as reporting:
            seen(reporting, event)
            assert "does not say what it has saved" in reporting.run("report", status=1)
            server._api._routes = before
            assert ALL_TOLD.format(3) in reporting.run("report")
        told_once(server, uuids(server, event))


def test_attributes_named_in_capitals_are_told() -> None:
    with MispServer() as server:
        event = event_of(server)
        lose_answers(server, "bulkSave")
        with Reporting(server, misp=FEW) as reporting:
            names = [name.upper() for name in uuids(server, event)]
            reporting.journal.append([sighting(names, events=(str(event.id),) * 3)])
            assert ALL_TOLD.format(3) in reporting.run("report")
        told_once(server, uuids(server, event))


@pytest.mark.parametrize("bulk", [True, False])
def test_kills_double_nothing(bulk: bool) -> None:
    with MispServer(bulk_sightings=bulk) as server:
        events = [event_of(server, 3, OTHER) for _ in range(60)]
        with Reporting(server, misp=FEW + "batch = 3\n") as reporting:
            for event in events:
                seen(reporting, event)
            Killed(reporting.command("report", "--follow"), server, 4, seed=3, most=6).wait()
            reporting.run("report")
        told_once(server, [name for event in events for name in uuids(server, event)])


def test_facts_are_those_of_a_real_misp_by_default() -> None:
    with MispServer() as server:
        assert server.facts == Facts()
