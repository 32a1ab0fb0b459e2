"""Which values of a record set bits in which gate (docs/format.md, section 5)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from inkgate.rules.canonical import suffixes
from inkgate.rules.crypto.derive import Unstretched
from inkgate.rules.crypto.gates import LEVELS
from inkgate.rules.select.indicators import Record


def gate_values(record: Record) -> Iterator[Unstretched]:
    """The values that set bits in the suffix gate; the last one is the whole host."""
    if record.host_kind == "ip":
        yield "ip", record.host.encode()
    elif record.host:
        for name in suffixes(record.host):
            yield "name", name.encode()


def gate_values_by_level(records: Iterable[Record]) -> dict[str, set[Unstretched]]:
    """The values of all gates, each once."""
    hosts: dict[str, set[Unstretched]] = {level: set() for level in LEVELS}
    for record in records:
        values = list(gate_values(record))
        hosts["suffix"].update(values)
        if record.is_url and values:
            hosts["url-host"].add(values[-1])
    return hosts
