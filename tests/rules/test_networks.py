"""Networks: how many prefix lengths a set has, and what an address costs (docs/format.md, 7)."""

from __future__ import annotations

import ipaddress
import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import combinations
from pathlib import Path
from typing import Any
from unittest.mock import patch

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inkgate.rules.canonical import Host, canonical_attribute
from inkgate.rules.errors import RefreshError
from inkgate.rules.lookup.matcher import Matcher
from inkgate.rules.lookup.steps import Steps
from inkgate.rules.match.engine import Engine
from inkgate.rules.match.logs.entry import Entry
from inkgate.rules.seal.gate_values import network_values
from inkgate.rules.select.indicators import make_record
from inkgate.rules.select.network_budget import NO_ROOM, NetworkBudget
from inkgate.rules.select.network_lengths import (
    MOST_LENGTHS,
    MOST_PIECES,
    gated_lengths,
    kept_lengths,
    pieces,
    pieces_needed,
)
from inkgate.rules.select.selection import Selection
from inkgate.rules.select.spool import Spool, portions
from inkgate.rules.settings import SelectSettings
from inkgate.rules.sources.attribute import Attribute
from support.installation import Installation, attribute

VECTORS = Path(__file__).parent.parent / "vectors" / "networks"
RANDOM = random.Random(2016)
EVERY_V4 = [f"203.{n}.128.0/{n}" for n in range(8, 33)]
EVERY_V6 = [f"2001:db8:{n:x}00::/{n}" for n in range(16, 129)]


def listed(text: str) -> str:
    return str(ipaddress.ip_network(text, strict=False))


@pytest.fixture(scope="module")
def matcher() -> Iterator[Matcher]:
    made = Installation()
    made.add("nets", *(attribute("ip-dst", listed(text)) for text in EVERY_V4 + EVERY_V6))
    made.refresh()
    yield made.matcher()
    made.close()


def derivations(steps: Steps[object], matcher: Matcher) -> int:
    count = 0
    try:
        wanted = next(steps)
        while True:
            count += len(wanted)
            wanted = steps.send([matcher.stretch(*value) for value in wanted])
    except StopIteration:
        return count


def random_v6() -> str:
    return str(ipaddress.IPv6Address((0x2 << 124) | RANDOM.getrandbits(124)))


def test_set_has_few_prefix_lengths(matcher: Matcher) -> None:
    manifest = matcher.generation.manifest
    assert manifest.networks_gated
    assert {v: len(n) for v, n in manifest.prefixes.items()} == MOST_LENGTHS
    assert manifest.prefixes["4"][-1] == 32
    assert manifest.prefixes["6"][-1] == 128


def test_random_address_costs_about_one_derivation(matcher: Matcher) -> None:
    for version, random_address in (
        ("4", lambda: str(ipaddress.IPv4Address(RANDOM.getrandbits(32)))),
        ("6", random_v6),
    ):
        counts = [
            derivations(matcher.host_steps(Host("ip", random_address())), matcher)
            for _ in range(300)
        ]
        assert sum(counts) / len(counts) < 1.4, version
        assert max(counts) <= MOST_LENGTHS[version]


def test_all_that_is_listed_is_found_and_nothing_beside_it(matcher: Matcher) -> None:
    networks = [ipaddress.ip_network(text, strict=False) for text in EVERY_V4 + EVERY_V6]
    for network in networks:
        size = network.num_addresses
        for address in (network[0], network[-1], network[RANDOM.randrange(size)]):
            assert matcher.server_address(str(address)), network
        beside = ipaddress.ip_address(int(network[0]) - 1)
        inside = any(beside in other for other in networks if other.version == beside.version)
        assert bool(matcher.server_address(str(beside))) == inside


@given(data=st.data())
def test_gate_changes_no_verdict(matcher: Matcher, data: st.DataObject) -> None:
    """The same verdicts as those of 0.1.0, which looks up each length without a gate."""
    network = ipaddress.ip_network(data.draw(st.sampled_from(EVERY_V4 + EVERY_V6)), strict=False)
    bits = 32 if network.version == 4 else 128
    flipped = data.draw(st.integers(0, bits - 1))
    address = str(ipaddress.ip_address(int(network[0]) ^ (1 << flipped)))
    gated = matcher.server_address(address)
    with patch.object(matcher, "_are_gated", False):
        ungated = matcher.server_address(address)
    assert set(map(repr, gated)) == set(map(repr, ungated))


def test_one_rule_for_a_listed_address_and_a_piece_that_is_it(installation: Installation) -> None:
    """Records of one canonical value meet in one rule also if one of them was a network."""
    lengths = [attribute("ip-dst", listed(text)) for text in EVERY_V4 if not text.endswith("/32")]
    single = attribute("ip-dst", "203.31.128.1")
    # All but /31 are listed often, so that /31 is the length that leaves.
    more = [attribute("ip-dst", listed(f"100.{n}.{n}.0/{n}")) for n in range(8, 31)]
    installation.add("nets", *lengths, *more, attribute("ip-dst", "203.31.128.0/31"), single)
    installation.refresh()
    matcher = installation.matcher()
    assert 31 not in matcher.generation.manifest.prefixes["4"]
    found = matcher.server_address("203.31.128.1")
    (match,) = [m for m in found if single["uuid"] in m.message.uuids()]
    assert len(match.message.uuids()) >= 2


def test_query_for_a_network_that_was_sealed_in_pieces(matcher: Matcher) -> None:
    engine = Engine(matcher, 100)
    split = [
        listed(text)
        for text in EVERY_V6
        if int(text.split("/")[1]) not in matcher.generation.manifest.prefixes["6"]
    ]
    assert split
    for network in split:
        assert engine.matches(Entry(values=(("ip-dst", network),))), network
    # Its first half is not what is listed, nor is what holds it.
    address, _, length = split[0].partition("/")
    assert not engine.matches(Entry(values=(("ip-dst", listed(f"{address}/{int(length) - 1}")),)))


@given(
    st.dictionaries(st.integers(8, 32), st.integers(1, 50), max_size=8),
    st.integers(1, 4),
)
def test_as_few_networks_as_possible_are_made(counts: dict[int, int], most: int) -> None:
    kept = kept_lengths(counts, most)
    assert len(kept) <= most
    assert set(kept) <= set(counts)
    if counts:
        others = combinations(sorted(counts)[:-1], min(most, len(counts)) - 1)
        best = min(pieces_needed(counts, (*other, max(counts))) for other in others)
        assert pieces_needed(counts, kept) == best


def test_too_many_pieces_are_refused_with_a_remedy(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    for network in EVERY_V6:
        value = canonical_attribute("ip-dst", listed(network))
        record = make_record("ip-dst", value, "block", 0, {})
        spool.take(portions([record]))
    spool.lengths["6"] = dict.fromkeys(spool.lengths["6"], 100_000)
    with pytest.raises(RefreshError, match=r"leave it out of \[rules\] sources"):
        spool.narrow()
    spool.remove()


@pytest.mark.parametrize(
    "vector",
    [pytest.param(json.loads(p.read_text()), id=p.stem) for p in sorted(VECTORS.glob("*.json"))],
)
def test_vector(vector: dict[str, Any]) -> None:
    counts = {
        version: {int(length): count for length, count in found.items()}
        for version, found in vector["listed"].items()
    }
    kept = {v: kept_lengths(found, MOST_LENGTHS[v]) for v, found in counts.items()}
    assert msgspec.to_builtins({v: list(k) for v, k in kept.items()}) == vector["kept"]
    gated = gated_lengths(kept)
    for network, expected in vector["pieces"].items():
        value = canonical_attribute("ip-dst", network)
        assert list(pieces(value.parts[0], expected["length"])) == expected["networks"]
    for text, expected in vector["gate_values"].items():
        record = make_record("ip-dst", canonical_attribute("ip-dst", text), "block", 0, {})
        assert [data.decode() for _, data in network_values(record, gated)] == expected


def _all_lengths(first: int, most: int) -> str:
    """Networks of 203.0.113.0 and all around it, by their lengths: a list of nonsense."""
    return "".join(
        f"{ipaddress.IPv4Address((11 << 24) + (i << (32 - length)))}/{length}\n"
        for length in range(first, 33)
        for i in range(min(1 << (length - 8), most))
    )


@pytest.mark.slow
def test_networks_for_which_there_is_no_room_cost_their_source_alone(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They ended the refresh: nothing else was brought up to date."""
    for module in ("spool", "network_budget"):
        monkeypatch.setattr(f"inkgate.rules.select.{module}.MOST_PIECES", 2_000)
    good, bad = installation.folder / "good.txt", installation.folder / "networks.txt"
    good.write_text("old.example\n192.0.2.0/27\n198.51.100.0/25\n2001:db8::/33\n")
    installation.configure('sources = ["good.txt", "networks.txt"]')
    bad.write_text("203.0.113.0/24\n")
    assert not installation.refresh().unreadable
    good.write_text(good.read_text() + "new.example\n")
    bad.write_text("203.0.113.0/24\n" + _all_lengths(9, 500))
    summary = installation.refresh()
    assert [fault.path for fault in summary.unreadable] == [bad]
    refused = summary.report.counts["refused", NO_ROOM]
    assert f"{refused:,} found no room" in str(summary.unreadable[0])
    assert summary.pieces <= 2_000
    matcher = installation.matcher()
    for address in ("192.0.2.9", "198.51.100.9", "2001:db8::9", "203.0.113.9"):
        assert matcher.server_address(address)
    assert matcher.host(Host("name", "new.example")).matches
    matcher.generation.close()


def test_networks_that_are_not_selected_need_no_room() -> None:
    now = datetime.now(UTC)
    budget = NetworkBudget(Selection(SelectSettings(not_types=("ip-dst",)), {}, {}, "block", now))
    for length in range(8, 33):
        one = Attribute(type="ip-dst", value=f"11.0.0.0/{length}", uuid="", to_ids=True)
        assert all(budget.checked(one) is one for _ in range(100))


@pytest.mark.parametrize("value", ["0.0.0.0/0", "10.0.0.0/7", "2000::/3", "10.0.0.0/40", "x/9"])
def test_what_is_refused_anyway_takes_no_room(value: str) -> None:
    budget = NetworkBudget(Selection(SelectSettings(), {}, {}, "block", datetime.now(UTC)))
    one = Attribute(type="ip-dst", value=value, uuid="", to_ids=True)
    assert all(budget.checked(one) is one for _ in range(300))
    assert budget.fault() is None


@given(st.lists(st.tuples(st.integers(8, 32), st.integers(1, 60_000)), max_size=40))
def test_what_is_taken_can_always_be_sealed(listed: list[tuple[int, int]]) -> None:
    budget = NetworkBudget(Selection(SelectSettings(), {}, {}, "block", datetime.now(UTC)))
    counts: dict[int, int] = {}
    for length, number in listed:
        one = Attribute(type="ip-dst", value=f"11.0.0.0/{length}", uuid="", to_ids=True)
        for _ in range(min(number, 50)):
            if budget.checked(one) is one:
                counts[length] = counts.get(length, 0) + 1
    assert pieces_needed(counts, kept_lengths(counts, MOST_LENGTHS["4"])) <= MOST_PIECES
