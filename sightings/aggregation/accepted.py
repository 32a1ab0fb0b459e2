"""What an aggregator has taken in one round: one message a subscriber, never two."""

from __future__ import annotations

import hashlib

from inkgate.sightings.aggregation.errors import AggregationError


class AcceptedMessages:
    """Digests of the messages of one round, by sender."""

    def __init__(self) -> None:
        self._digests: dict[str, bytes] = {}

    def is_new(self, sender: str, body: bytes) -> bool:
        """False if the very same was taken before.

        Raises:
            AggregationError: the sender said something else before (`second-count`).
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
        """Remember what was taken."""
        self._digests[sender] = hashlib.sha256(body).digest()

    def names(self) -> list[str]:
        """Who was taken, in order."""
        return sorted(self._digests)
