"""Incidents as they are journalled: many as one value.

MessagePack: an array (always "array 32") of incidents, each an array of its time, id,
client, method and rules; each rule an array of its class, action, attributes' UUIDs and
events' ids. Rows of a table would take several times as much of the helper's time
(docs/decisions/0052).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from math import isfinite
from operator import attrgetter
from typing import Final

import msgspec

from inkgate.sightings.journal.sighting import Sighting

# Class, action, attributes, events, as in `Sighting`.
Rule = tuple[str, str, tuple[str, ...], tuple[str, ...]]
_Incident = tuple[float, str, str, str, tuple[Rule, ...]]

_MOST_INCIDENTS: Final = 1024
_MOST_BYTES: Final = 1 << 20
_ARRAY_32: Final = b"\xdd"
_HEADER: Final = 5
_END: Final = -1
_encode_into: Final = msgspec.msgpack.Encoder().encode_into
_decode: Final = msgspec.msgpack.Decoder(tuple[_Incident, ...]).decode


class BlockError(ValueError):
    """These bytes are no block."""


class Block:
    """Incidents, packed as they come. For one thread.

    Attributes:
        incidents: how many.
    """

    def __init__(self) -> None:
        self.incidents = 0
        self._data = bytearray(_HEADER)

    @property
    def size(self) -> int:
        """In bytes."""
        return len(self._data)

    @property
    def is_full(self) -> bool:
        """Whether the next incident needs a new block."""
        return self.incidents >= _MOST_INCIDENTS or len(self._data) >= _MOST_BYTES

    def add(
        self, time: float, incident: str, client: str, method: str, rules: Sequence[Rule]
    ) -> None:
        """Add an incident, or leave the block as it was; for the arguments see `Sighting`.

        Raises:
            UnicodeEncodeError: UTF-8 cannot hold one of the texts that no client chooses.
        """
        try:
            self._append((time, incident, client, method, rules))
        except UnicodeEncodeError:
            # The client chooses these two texts. Bytes that are not UTF-8 become `?`.
            texts = (text.encode("utf-8", "replace").decode() for text in (client, method))
            self._append((time, incident, *texts, rules))
        self.incidents += 1

    def _append(self, incident: tuple[object, ...]) -> None:
        end = len(self._data)
        try:
            _encode_into(incident, self._data, _END)
        except BaseException:
            del self._data[end:]
            raise

    def packed(self) -> bytes:
        """The block's bytes."""
        self._data[:_HEADER] = _ARRAY_32 + self.incidents.to_bytes(4, "big")
        return bytes(self._data)


def blocks_of(sightings: Iterable[Sighting]) -> Iterator[tuple[str, Block]]:
    """Blocks of what several nodes saw, each with its node.

    Raises:
        UnicodeEncodeError: UTF-8 cannot hold one of their texts.
    """
    for node, together in groupby(sightings, attrgetter("node")):
        block = Block()
        for s in together:
            if block.is_full:
                yield node, block
                block = Block()
            rule = (s.indicator_class, s.action, s.attributes, s.events)
            block.add(s.time, s.incident, s.client, s.method, [rule])
        yield node, block


def unpacked(data: bytes, node: str) -> list[Sighting]:
    """What a block holds, in order.

    Args:
        data: the block's bytes.
        node: the proxy's name.

    Raises:
        BlockError: they are damaged.
    """
    try:
        found = _decode(data)
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise BlockError(f"not a block of incidents ({type(error).__name__})") from None
    if not all(isfinite(time) for time, *_ in found):
        raise BlockError("not a block of incidents (time)")
    return [
        Sighting(
            time=time,
            incident=incident,
            indicator_class=indicator_class,
            attributes=attributes,
            client=client,
            method=method,
            action=action,
            node=node,
            events=events,
        )
        for time, incident, client, method, rules in found
        for indicator_class, action, attributes, events in rules
    ]
