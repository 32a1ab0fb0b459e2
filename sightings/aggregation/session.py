"""One aggregation: a group, a period and a list of indicators, bound into every message."""

from __future__ import annotations

import hashlib
from functools import cached_property

from inkgate.rules.canonical.fields import length_prefixed
from inkgate.sightings.aggregation.group import Group
from inkgate.sightings.aggregation.labels import Labels


class Session:
    """What all messages of one aggregation have in common.

    Args:
        group: the pinned description.
        period: the period's first day, YYYY-MM-DD.
        labels: the list of indicators that the period counts.

    Raises:
        AggregationError: no period begins on that day.
    """

    def __init__(self, group: Group, period: str, labels: Labels) -> None:
        self.first, self.end = group.period(period)
        self.group = group
        self.period = period
        self.labels = labels

    @cached_property
    def header(self) -> tuple[bytes, bytes, bytes, bytes]:
        """The fields that a message begins with, after its kind."""
        labels = self.labels
        serial = labels.serial.to_bytes(8)
        return self.group.digest, self.period.encode(), serial, labels.digest

    @cached_property
    def id(self) -> bytes:
        """32 bytes that no other aggregation has."""
        data = length_prefixed(b"inkgate/v1 aggregation session", *self.header)
        return hashlib.sha256(data).digest()
