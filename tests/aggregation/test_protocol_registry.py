"""The table of aggregation protocols: what each entry must keep, and that none is forgotten."""

from __future__ import annotations

import importlib
import pkgutil
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from inkgate.sightings import aggregation
from inkgate.sightings.aggregation.description import parse_group
from inkgate.sightings.aggregation.errors import AggregationError
from inkgate.sightings.aggregation.protocol import AggregationProtocol
from inkgate.sightings.aggregation.registry import PROTOCOLS
from inkgate.sightings.commands.aggregation import setup
from support.aggregation import PROTOCOL_NAMES, Party
from support.registry_copy import copy_sources

ROOT = Path(__file__).resolve().parents[2]
TABLE = "sightings/aggregation/registry.py"
REGISTRY = "inkgate.sightings.aggregation.registry"
TEST = "tests/aggregation/test_protocol_registry.py"
EACH = pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda protocol: protocol.name)


@EACH
def test_both_sides_have_the_rounds_of_the_table(protocol: AggregationProtocol) -> None:
    party = Party(protocol.name, 3, 1)
    aggregator = party.aggregator()
    assert tuple(aggregator.rounds) == protocol.rounds
    kinds = [kind for other in PROTOCOLS for kind in other.rounds]
    assert len(set(kinds)) == len(kinds), "a message of one protocol must be none of another"


@EACH
def test_fewest_contributors_lie_between_what_is_needed_and_all(
    protocol: AggregationProtocol,
) -> None:
    for threshold in (3, 4, 5):
        group = Party(protocol.name, 5, 1, threshold=threshold).group
        assert group.quota_subscribers <= protocol.least_contributors(group) <= 5


@EACH
def test_a_sum_of_fewer_contributors_than_the_table_says_is_refused(
    protocol: AggregationProtocol,
) -> None:
    party = Party(protocol.name, 5, 1, threshold=4)
    absent = 5 - protocol.least_contributors(party.group) + 1
    vectors = {name: [1] for name in party.names}
    with pytest.raises(AggregationError, match=r"^too-few: "):
        party.run(vectors, drops={0: set(party.names[:absent])})


@EACH
def test_setup_offers_it_and_the_documentation_has_it(protocol: AggregationProtocol) -> None:
    said = CliRunner().invoke(setup, ["--help"]).output
    assert protocol.name in said.partition("--protocol")[2].partition("--threshold")[0]
    assert f"`{protocol.name}`" in (ROOT / "docs/aggregation.md").read_text()
    page = (ROOT / "docs/format.md").read_text()
    assert re.search(f"^### .* Protocol `{protocol.name}`$", page, re.MULTILINE)


def test_every_protocol_of_the_room_is_in_the_table() -> None:
    modules = pkgutil.walk_packages(aggregation.__path__, f"{aggregation.__name__}.")
    made = {
        found.name
        for module in modules
        for found in vars(importlib.import_module(module.name)).values()
        if isinstance(found, AggregationProtocol)
    }
    assert made == set(PROTOCOL_NAMES)
    assert len(set(PROTOCOL_NAMES)) == len(PROTOCOLS)


def test_a_group_of_an_unknown_protocol_is_refused() -> None:
    group = Party(PROTOCOL_NAMES[0], 3, 1).group
    data = group.encoded.replace(PROTOCOL_NAMES[0].encode(), b"dummy")
    with pytest.raises(AggregationError, match=r"^bad-group: protocol 'dummy' is none of "):
        parse_group(data)


@pytest.mark.slow
def test_an_entry_without_the_aggregators_side_fails_mypy(tmp_path: Path) -> None:
    copy = copy_sources(tmp_path)
    assert copy.mypy(REGISTRY) == []
    copy.replace(
        TABLE,
        "    SHI,\n",
        "    SHI,\n    AggregationProtocol(name='dummy', rounds=SHI.rounds, deal=SHI.deal,\n"
        "    least_contributors=SHI.least_contributors, contributor=SHI.contributor),\n",
    )
    assert any('Missing positional argument "aggregator"' in line for line in copy.mypy(REGISTRY))


@pytest.mark.slow
def test_an_entry_with_other_rounds_than_its_aggregator_fails(tmp_path: Path) -> None:
    copy = copy_sources(tmp_path)
    copy.replace(TABLE, "    SHI,\n", "    SHI,\n    SHI._replace(name='dummy', rounds=('r',)),\n")
    assert "1 failed" in copy.pytest(TEST, "-k", "both_sides and dummy")


@pytest.mark.slow
def test_an_entry_that_nobody_describes_or_gives_vectors_fails(tmp_path: Path) -> None:
    copy = copy_sources(tmp_path)
    copy.replace(TABLE, "    SHI,\n", "    SHI,\n    SHI._replace(name='dummy'),\n")
    assert "1 failed" in copy.pytest(TEST, "-k", "documentation and dummy")
    said = copy.pytest("tests/aggregation/test_vectors.py", "-k", "group_list and dummy")
    assert "FileNotFoundError" in said


@pytest.mark.slow
def test_a_protocol_that_is_left_out_of_the_table_fails(tmp_path: Path) -> None:
    copy = copy_sources(tmp_path)
    copy.replace(TABLE, "    SHI,\n", "")
    assert "1 failed" in copy.pytest(TEST, "-k", "every_protocol_of_the_room")
