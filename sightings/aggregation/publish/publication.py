"""Which totals are published: those above both quotas."""

from __future__ import annotations

from collections.abc import Iterator

from inkgate.sightings.aggregation.errors import AggregationError
from inkgate.sightings.aggregation.group import Group
from inkgate.sightings.aggregation.labels import Labels
from inkgate.sightings.aggregation.protocol import Totals, too_few


def publishable(totals: Totals, group: Group, labels: Labels) -> Iterator[tuple[bytes, int]]:
    """Labels with totals that may be published.

    Raises:
        AggregationError: fewer subscribers contributed than the quota asks for (`too-few`).
    """
    if totals.contributors < group.quota_subscribers:
        raise too_few(totals.contributors, group.quota_subscribers, "contributed")
    if len(totals.values) != len(labels):
        raise AggregationError(
            "wrong-list", "the totals belong to another list", "use the list of this period"
        )
    for label, value in zip(labels, totals.values, strict=True):
        if value is not None and value >= max(1, group.quota_total):
            yield label, value
