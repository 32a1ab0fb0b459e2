"""From counts to what a subscriber submits: checked, with its part of the noise."""

from __future__ import annotations

from collections.abc import Sequence

from inkgate.sightings.aggregation.noise import draw_noise
from inkgate.sightings.aggregation.protocol import check_counts
from inkgate.sightings.aggregation.session import Session


def contribution(session: Session, counts: Sequence[int]) -> list[int]:
    """Counts plus noise. Draw once a period: a second draw would tell on the first.

    Raises:
        AggregationError: the counts are not what the group agreed on.
    """
    group = session.group
    check_counts(counts, len(session.labels), group)
    noise = [0] * len(counts) if group.noise is None else draw_noise(group, len(counts))
    return [count + extra for count, extra in zip(counts, noise, strict=True)]
