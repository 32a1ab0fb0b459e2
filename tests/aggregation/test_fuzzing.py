"""Parsers of what comes from others, on anything at all."""

from __future__ import annotations

import contextlib
from functools import partial

from hypothesis import given
from hypothesis import strategies as st

from inkgate.rules.canonical.fields import length_prefixed
from inkgate.sightings.aggregation.description import parse_group
from inkgate.sightings.aggregation.errors import AggregationError
from inkgate.sightings.aggregation.labels import parse_labels
from inkgate.sightings.aggregation.wire import join_pairs, seal, split_fields, split_pairs
from support.aggregation import PROTOCOL_NAMES, Party

PARTIES = {protocol: Party(protocol, 3, 2) for protocol in PROTOCOL_NAMES}
NAMES = st.text("abcdefghij-._0", min_size=1, max_size=8)


@given(st.lists(st.binary(max_size=40), max_size=20))
def test_fields_come_back(fields: list[bytes]) -> None:
    assert split_fields(length_prefixed(*fields), most=20) == fields


@given(st.dictionaries(NAMES, st.binary(max_size=40), max_size=10))
def test_pairs_come_back(pairs: dict[str, bytes]) -> None:
    assert split_pairs(join_pairs(pairs), most=10) == pairs


@given(st.binary(max_size=300))
def test_nothing_but_our_error_escapes(data: bytes) -> None:
    for parse in (
        lambda: split_fields(data, most=5),
        lambda: split_pairs(data, most=5),
        lambda: parse_group(data),
        lambda: parse_labels(data),
        *(partial(party.aggregator().accept, data) for party in PARTIES.values()),
    ):
        with contextlib.suppress(AggregationError):
            parse()


@given(st.integers(0, 4), st.binary(max_size=300))
def test_signed_nonsense_at_every_round(number: int, body: bytes) -> None:
    """A member that signs anything is refused, or taken as what it is, by the aggregator."""
    party = PARTIES["masked"]
    name = party.names[0]
    aggregator = party.aggregator()
    histories: dict[str, list[bytes]] = {n: [] for n in party.names}
    for _ in range(number):
        for member in party.names:
            aggregator.accept(party.contributor(member).answer(histories[member], [1, 2]))
        sent = aggregator.close()
        histories = {m: [*histories[m], sent[m]] for m in party.names}
    kind = aggregator.rounds[number]
    with contextlib.suppress(AggregationError):
        aggregator.accept(seal(kind, party.session, name, body, party.identities[name]))


@given(st.integers(1, 4), st.binary(max_size=300))
def test_nonsense_from_the_aggregator_at_every_round(number: int, nonsense: bytes) -> None:
    party = PARTIES["masked"]
    aggregator = party.aggregator()
    histories: dict[str, list[bytes]] = {n: [] for n in party.names}
    for _ in range(number - 1):
        for member in party.names:
            aggregator.accept(party.contributor(member).answer(histories[member], [1, 2]))
        sent = aggregator.close()
        histories = {m: [*histories[m], sent[m]] for m in party.names}
    name = party.names[0]
    try:
        party.contributor(name).answer([*histories[name], nonsense], [1, 2])
    except AggregationError:
        return
    raise AssertionError("nonsense was answered")
