"""A group's description as a whole: what its protocol asks of it, and reading it."""

from __future__ import annotations

import msgspec

from inkgate.sightings.aggregation.errors import AggregationError
from inkgate.sightings.aggregation.group import MAX_GROUP_BYTES, Group
from inkgate.sightings.aggregation.noise import honest_contributors
from inkgate.sightings.aggregation.registry import protocol_of


def check_group(group: Group) -> Group:
    """The group, unless its protocol is not known or its noise would hide nothing.

    Raises:
        ValueError: the text names the fault.
    """
    protocol_of(group)
    if group.noise is not None:
        honest_contributors(group, group.noise)
    return group


def parse_group(data: bytes) -> Group:
    """Read a description.

    Raises:
        AggregationError: it is not one (`bad-group`).
    """
    try:
        return check_group(msgspec.json.decode(data[: MAX_GROUP_BYTES + 1], type=Group))
    except (msgspec.MsgspecError, ValueError) as error:
        raise AggregationError("bad-group", str(error), "get it again from who set it up") from None
