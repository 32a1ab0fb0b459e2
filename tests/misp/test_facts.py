"""Whether each fact of a real MISP, turned round in the simulator, is noticed.

Reporter, reader and simulator have one author: what all three believe wrongly no other test
finds. So every belief has to matter: what passes with the fact must fail without it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from support import misp_scenarios as scenarios
from support.misp import Facts, MispServer
from support.misp.server import KEY

pytestmark = pytest.mark.slow

Scenario = Callable[[MispServer], None]

DEPENDS: dict[str, Scenario] = {
    "ids_are_numbers": scenarios.lost_answer_of_add,
    "searches_by_uuid": scenarios.lost_answer_of_bulk,
    "from_and_to_are_taken": scenarios.lost_answer_about_long_ago,
    "bounds_are_inclusive": scenarios.lost_answer_of_add,
    "bulk_is_all_or_nothing": scenarios.invalid_one_among_good_ones,
    "bulk_skips_known_uuids": scenarios.lost_answer_of_bulk,
    "bulk_takes_soft_deleted": scenarios.deleted_ones_among_good_ones,
    "unknown_event_is_405": scenarios.event_that_is_gone,
    "distribution_hides": scenarios.hidden_attributes,
    "own_sightings_are_shown": scenarios.lost_answer_of_add,
    "unexportable_tags_are_hidden": scenarios.tags_that_are_not_exported,
    "maintenance_redirects": scenarios.maintenance,
    "limits_are_of_searches": scenarios.limit_of_searches,
    "front_end_names_the_size": scenarios.too_large_request,
    "add_refuses_with_200": scenarios.attribute_of_nobody,
}


@pytest.fixture(autouse=True)
def key_of_the_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INKGATE_TEST_KEY", KEY)


def test_every_fact_has_a_scenario_that_depends_on_it() -> None:
    assert set(DEPENDS) == {field.name for field in dataclasses.fields(Facts)}


@pytest.mark.parametrize(
    "scenario", [*dict.fromkeys(DEPENDS.values()), scenarios.readings_of_what_is_shown]
)
def test_with_a_misp_as_it_is(scenario: Scenario) -> None:
    with MispServer() as server:
        scenario(server)


@pytest.mark.parametrize("fact", DEPENDS)
def test_with_the_fact_turned_round(fact: str) -> None:
    facts = dataclasses.replace(Facts(), **{fact: False})
    with MispServer(facts=facts) as server, pytest.raises(AssertionError):
        DEPENDS[fact](server)
