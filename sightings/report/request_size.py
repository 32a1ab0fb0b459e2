"""How many sightings go into one request."""

from __future__ import annotations


class RequestSize:
    """As many as there may be; fewer after a request that failed, and slowly more again.

    A request that takes MISP too long would take it as long the next time. One that a
    server in front of it finds too large is never sent again by this process.

    Args:
        most: how many there may be.

    Attributes:
        now: how many there are in the next request at most.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self.now = most

    def failed(self, sent: int) -> None:
        """A request of so many was not answered, or with a failure."""
        self.now = max(1, sent // 4)

    def too_large(self, sent: int) -> None:
        """A request of so many is too large."""
        self._most = self.now = max(1, sent // 2)

    def worked(self, sent: int) -> None:
        """A request of so many was answered."""
        if sent >= self.now:
            self.now = min(self._most, 2 * self.now)
