"""The list of indicators that a period counts, in an order that all parties share.

Rule sets of two organisations have different tokens and salts, so nothing in them can be
compared. What they share is MISP's attribute UUID. The list contains a hash of each UUID: a
proxy finds in it the UUIDs that it has seen. Without access to MISP, the list tells only how
many indicators there are.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import Final

from inkgate.rules.canonical.fields import length_prefixed
from inkgate.sightings.aggregation.errors import AggregationError

LABEL_BYTES: Final = 16
MAX_LABELS: Final = 10_000_000
MAX_SERIAL: Final = (1 << 64) - 1
_HEAD: Final = b"inkgate aggregation list 1 serial "
_LINE: Final = 2 * LABEL_BYTES + 1


def label_of(attribute_uuid: str) -> bytes:
    """The label of a MISP attribute.

    Raises:
        ValueError: it is not a UUID.
    """
    canonical = str(uuid.UUID(attribute_uuid)).encode()
    fields = length_prefixed(b"inkgate/v1 aggregation label", canonical)
    return hashlib.sha256(fields).digest()[:LABEL_BYTES]


class Labels:
    """Labels in ascending order, none twice.

    Args:
        serial: of the rule set that the list belongs to.
        labels: in any order.

    Raises:
        AggregationError: the serial does not fit into 64 bits (`bad-message`).
    """

    def __init__(self, serial: int, labels: Iterable[bytes]) -> None:
        if not 0 <= serial <= MAX_SERIAL:
            raise AggregationError(
                "bad-message", "a list's serial has more than 64 bits", "use the rule set's"
            )
        self.serial = serial
        self._labels = sorted(set(labels))

    def __len__(self) -> int:
        return len(self._labels)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._labels)

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 over all labels in their order."""
        return hashlib.sha256(b"".join(self._labels)).digest()

    @cached_property
    def _positions(self) -> dict[bytes, int]:
        return {label: n for n, label in enumerate(self._labels)}

    def position(self, label: bytes) -> int | None:
        """Where a label stands, if it does."""
        return self._positions.get(label)

    def vector(self, counts: Mapping[str, int]) -> list[int]:
        """Counts by attribute UUID as a vector; what the list does not name is left out."""
        vector = [0] * len(self)
        for name, count in counts.items():
            try:
                position = self.position(label_of(name))
            except ValueError:
                continue  # attributes of plain lists have no UUID
            if position is not None:
                vector[position] += count
        return vector

    def encode(self) -> bytes:
        """The list as a file: a head line, then a label a line in hexadecimal."""
        lines = (label.hex().encode() + b"\n" for label in self._labels)
        return _HEAD + str(self.serial).encode() + b"\n" + b"".join(lines)


def parse_labels(data: bytes) -> Labels:
    """Read a list.

    Raises:
        AggregationError: it is not one, or not in order (`bad-message`).
    """
    head, _, rest = data.partition(b"\n")
    count, left = divmod(len(rest), _LINE)
    try:
        serial = int(head.removeprefix(_HEAD))
        rows = [bytes.fromhex(line.decode()) for line in rest.splitlines()]
    except ValueError:
        serial, rows = -1, []
    labels = Labels(max(serial, 0), rows)
    # The encoding is unique, so comparing it checks form, order and duplicates at once.
    if left or not 0 < count <= MAX_LABELS or labels.encode() != data:
        raise AggregationError("bad-message", "not a list of indicators", "get it again")
    return labels
