"""Incidents as the helper and the ICAP server journal them: many as one value.

MessagePack: an array (always "array 32") of incidents, each an array of its time, id,
client, method and rules; each rule an array of its class, action, attributes' UUIDs and
events' ids. Rows of a table would cost whoever answers requests several times as much
(docs/decisions/0052).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

import msgspec

from sightings.sighting import Sighting

if TYPE_CHECKING:
    from rules.matcher import Match

_Rule = tuple[str, str, tuple[str, ...], tuple[str, ...]]
_Incident = tuple[float, str, str, str, tuple[_Rule, ...]]

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

    def add(
        self, time: float, incident: str, client: str, method: str, matches: Sequence[Match]
    ) -> None:
        """Add an incident, or leave the block as it was.

        Args:
            time: seconds since 1970, UTC.
            incident: the id on the blocked page.
            client: what is kept of the client's address.
            method: the request's method.
            matches: the rules that it matched.

        Raises:
            UnicodeEncodeError: UTF-8 cannot hold one of the texts.
        """
        # Reduced to what a journal holds before it is packed: a message may say more.
        rules = [(name, m.action, m.uuids(), m.event_ids()) for name, m in matches]
        end = len(self._data)
        try:
            _encode_into((time, incident, client, method, rules), self._data, _END)
        except BaseException:
            del self._data[end:]
            raise
        self.incidents += 1

    def packed(self) -> bytes:
        """The block's bytes."""
        self._data[:_HEADER] = _ARRAY_32 + self.incidents.to_bytes(4, "big")
        return bytes(self._data)


def unpacked(data: bytes, node: str) -> Iterator[Sighting]:
    """What a block holds, in order; everything is checked before the first one comes.

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
    for time, incident, client, method, rules in found:
        for indicator_class, action, attributes, events in rules:
            yield Sighting(
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
