"""Totals as sightings in a MISP that behaves as a real one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from inkgate.misp.connector import Connector
from inkgate.sightings.aggregation.errors import AggregationError
from inkgate.sightings.aggregation.publish.misp import MispPublisher
from support.aggregation import Party
from support.misp import MispServer, Role
from support.misp_scenarios import event_of, uuids

pytest.importorskip("numpy")


SESSION = Party("masked", 3, 1).session


@pytest.fixture
def server() -> Iterator[MispServer]:
    with MispServer() as made:
        event_of(made)
        yield made


def published(server: MispServer, count: int = 2) -> int:
    """Publish a total of so many for each attribute; how many MISP knows."""
    totals = dict.fromkeys((a.uuid for a in server.misp.attributes.values()), count)
    return MispPublisher(Connector(server.url, server.key)).publish(SESSION, totals, 100)


def test_twice_adds_nothing(server: MispServer) -> None:
    assert published(server) == 3
    assert published(server) == 3
    assert len(server.misp.sightings) == 6


def test_nothing_saved_is_no_success(server: MispServer) -> None:
    published(server, 1)
    (source,) = {s.source for s in server.misp.sightings.values()}
    server.misp.sightings.clear()
    server.instance.invalid_sources.add(source)
    with pytest.raises(AggregationError, match="has not saved 3 sightings, and does not show"):
        published(server, 1)


def test_what_is_there_already_and_is_not_shown_is_not_taken_for_told(server: MispServer) -> None:
    published(server)
    server.instance.loads_sightings = False
    with pytest.raises(AggregationError, match="does not show them"):
        published(server)


def test_too_large_request_is_parted(server: MispServer) -> None:
    server.instance.most_bytes = 2000
    assert published(server, 20) == 3
    assert len(server.misp.sightings) == 60


@pytest.mark.parametrize(("policy", "shown"), [(0, 0), (1, 0), (2, 6), (3, 0)])
def test_totals_are_shown_to_all_with_policy_2_alone(
    server: MispServer, policy: int, shown: int
) -> None:
    published(server)
    server.instance.sightings_policy = policy
    server.keys["reader"] = Role(org="THIRD")
    event = next(iter(server.misp.events.values()))
    asked = {"uuid": uuids(server, event), "from": 1, "to": 2**33}
    answer = server.answer("/sightings/restSearch/attribute", "reader", asked)
    assert len(answer.body["response"]) == shown
