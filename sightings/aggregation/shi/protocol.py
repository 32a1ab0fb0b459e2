"""Protocol `shi` as the table of protocols has it."""

from __future__ import annotations

from typing import Final

from inkgate.sightings.aggregation.group import Group
from inkgate.sightings.aggregation.protocol import AggregationProtocol
from inkgate.sightings.aggregation.shi.scheme import ROUNDS, ShiAggregator, ShiContributor, deal


def _least_contributors(group: Group) -> int:
    # Every subscriber is in every sum: only all keys together add up to zero.
    return len(group.subscribers)


SHI: Final = AggregationProtocol(
    name="shi",
    rounds=ROUNDS,
    least_contributors=_least_contributors,
    contributor=ShiContributor,
    aggregator=ShiAggregator,
    deal=deal,
)
