"""Which values of a record set bits in which gate (docs/format.md, section 5)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from inkgate.rules.canonical import ObservedAt, classes_at, network_of, suffixes
from inkgate.rules.canonical.fields import fields_of
from inkgate.rules.crypto.derive import Unstretched
from inkgate.rules.crypto.gates import LEVELS
from inkgate.rules.select.indicators import Record
from inkgate.rules.select.network_lengths import Lengths, length_of

NETWORKS: Final = "networks"
"""Values of the suffix gate that records of other partitions may have as well."""

_OF_SERVERS: Final = frozenset(classes_at(ObservedAt.ADDRESS))
_OF_PAIRS: Final = frozenset(classes_at(ObservedAt.HOST_WITH_ADDRESS))


def gate_values(record: Record) -> Iterator[Unstretched]:
    """The names and addresses that set bits in the suffix gate; the last one is the whole host."""
    if record.host_kind == "ip":
        yield "ip", record.host.encode()
    elif record.host:
        for name in suffixes(record.host):
            yield "name", name.encode()


def network_values(record: Record, gated: Lengths) -> Iterator[Unstretched]:
    """The networks that set bits in the suffix gate: those around an address, and itself.

    The address that a host is listed with sets its own, too.

    Args:
        gated: the lengths at which a look-up asks.
    """
    if record.indicator_class in _OF_PAIRS:
        yield from _address_of_pair(record)
    if record.host_kind == "ip":
        network = record.host
    elif record.indicator_class in _OF_SERVERS:
        network = record.data.decode()
    else:
        return
    version, longest = length_of(network)
    address = network.partition("/")[0]
    whole = record.host_kind == "ip"
    for length in gated[version]:
        if length < longest or (length == longest and not whole):
            yield "ip", network_of(address, length).encode()


def _address_of_pair(record: Record) -> Iterator[Unstretched]:
    address = fields_of(record.data)[-1].decode()
    if "/" not in address:
        yield "ip", address.encode()


def gate_values_by_level(records: Iterable[Record], gated: Lengths) -> dict[str, set[Unstretched]]:
    """The values of all gates, each once; networks apart (`NETWORKS`)."""
    hosts: dict[str, set[Unstretched]] = {level: set() for level in (*LEVELS, NETWORKS)}
    for record in records:
        values = list(gate_values(record))
        hosts["suffix"].update(values)
        hosts[NETWORKS].update(network_values(record, gated))
        if record.is_url and values:
            hosts["url-host"].add(values[-1])
    return hosts


def level_of(name: str) -> str:
    """The gate in which values that are kept under a name set their bits."""
    return "suffix" if name == NETWORKS else name
