"""Protocol `masked` as the table of protocols has it."""

from __future__ import annotations

from typing import Final

from inkgate.sightings.aggregation.group import Group
from inkgate.sightings.aggregation.masked.aggregator import MaskedAggregator
from inkgate.sightings.aggregation.masked.subscriber import ROUNDS, MaskedContributor
from inkgate.sightings.aggregation.protocol import AggregationProtocol


def _least_contributors(group: Group) -> int:
    # Subscribers may drop out, or the aggregator may leave them out, down to this number.
    return max(group.threshold, group.quota_subscribers)


MASKED: Final = AggregationProtocol(
    name="masked",
    rounds=ROUNDS,
    least_contributors=_least_contributors,
    contributor=MaskedContributor,
    aggregator=MaskedAggregator,
    deal=None,
)
