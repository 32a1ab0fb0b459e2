"""The table of aggregation protocols.

To add a protocol, write its room and give it a line in `PROTOCOLS`. Nothing else in the
program names a protocol.
"""

from __future__ import annotations

from typing import Final

from inkgate.sightings.aggregation.group import Group
from inkgate.sightings.aggregation.masked.protocol import MASKED
from inkgate.sightings.aggregation.protocol import AggregationProtocol
from inkgate.sightings.aggregation.shi.protocol import SHI

# The first one is the default of `setup`.
PROTOCOLS: Final[tuple[AggregationProtocol, ...]] = (
    MASKED,
    SHI,
)

_BY_NAME: Final = {protocol.name: protocol for protocol in PROTOCOLS}


def protocol_of(group: Group) -> AggregationProtocol:
    """The protocol that a group uses.

    Raises:
        ValueError: its name is not in the table.
    """
    protocol = _BY_NAME.get(group.protocol)
    if protocol is None:
        raise ValueError(f"protocol {group.protocol[:64]!r} is none of {', '.join(_BY_NAME)}")
    return protocol
