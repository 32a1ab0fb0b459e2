"""The messages that an aggregator has accepted in one round: one from each subscriber."""

from __future__ import annotations

import hashlib

from inkgate.sightings.aggregation.errors import AggregationError


class AcceptedMessages:
    """Digests of the messages of one round, by sender."""

    def __init__(self) -> None:
        self._digests: dict[str, bytes] = {}

    def is_new(self, sender: str, body: bytes) -> bool:
        """Whether a message is new; False if the same one was accepted before.

        Raises:
            AggregationError: another message of this sender was accepted before (`second-count`).
        """
        known = self._digests.get(sender)
        if known is None:
            return True
        if known != hashlib.sha256(body).digest():
            raise AggregationError(
                "second-count", f"{sender} sent a second, different message", "drop it"
            )
        return False

    def add(self, sender: str, body: bytes) -> None:
        """Remember an accepted message."""
        self._digests[sender] = hashlib.sha256(body).digest()

    def names(self) -> list[str]:
        """The senders, in order."""
        return sorted(self._digests)
