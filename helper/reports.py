"""What becomes of a match: a record, and an answer to Squid."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from inkgate.health.monitor import Monitor
from inkgate.helper.protocol import Request, err, ok
from inkgate.rules.lookup.matcher import Match
from inkgate.sightings.journal.recorder import RecordIncident


class Reports:
    """Records matches and makes the answers to their requests.

    Args:
        record: puts a match into the journal; must not wait for the disk.
        new_incident: makes incident ids.
        monitor: told of matches that are in no journal, or come too late.
    """

    def __init__(
        self, record: RecordIncident, new_incident: Callable[[], str], monitor: Monitor
    ) -> None:
        self._record = record
        self._new_incident = new_incident
        self._monitor = monitor

    def answer(self, request: Request, matches: Sequence[Match], *, late: bool) -> bytes:
        """Record a match, and make the answer to its request.

        Args:
            late: whether the deadline has passed, so that `fail` has answered. Then the
                match is recorded and there is no second answer.
        """
        incident = self._new_incident()
        try:
            self._record(request.client, request.method, incident, matches)
        except Exception as error:  # noqa: BLE001
            # The text may hold what was matched, so only the type is said.
            self._monitor.met("incident-lost", f"it cannot be recorded: {type(error).__name__}")
        if late:
            self._monitor.met("late-match", f"{incident}: `fail` had answered its request before")
            return b""
        if any(match.message.action == "block" for match in matches):
            return ok(request.id, incident)
        return err(request.id)
