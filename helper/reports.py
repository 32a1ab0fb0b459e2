"""What becomes of a match: a record, and an answer to Squid."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from inkgate.config.printable import Log
from inkgate.helper.protocol import Request, err, ok
from inkgate.rules.lookup.matcher import Match
from inkgate.sightings.journal.recorder import RecordIncident


class Reports:
    """Hands matches to the journal, which must not wait for a disk, and words the answers.

    Args:
        record: called with client, method, incident id and matches before the answer
            goes out.
        new_incident: makes incident ids.
        log: takes one line without secrets.
    """

    def __init__(self, record: RecordIncident, new_incident: Callable[[], str], log: Log) -> None:
        self._record = record
        self._new_incident = new_incident
        self._log = log

    def answer(self, request: Request, matches: Sequence[Match], *, late: bool) -> bytes:
        """Record a match; the answer to its request, nothing if `fail` has answered it."""
        incident = self._new_incident()
        try:
            self._record(request.client, request.method, incident, matches)
        except Exception as error:  # noqa: BLE001
            # The text may hold what was matched, so only the type is said.
            self._log(f"a sighting was not journalled: {type(error).__name__}")
        if late:
            self._log(f"the match of {incident} came after the request's deadline")
            return b""
        if any(match.message.action == "block" for match in matches):
            return ok(request.id, incident)
        return err(request.id)
