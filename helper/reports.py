"""Matches: journalled first, then answered, on a thread of their own."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple

from helper.answers import Answers
from helper.protocol import Request, err, ok
from rules.matcher import Match

Record = Callable[[str, str, str, Sequence[Match]], None]


class _Hit(NamedTuple):
    request: Request
    matches: Sequence[Match]
    late: bool


class Reports:
    """Takes matches off the main loop, which must not wait for a disk.

    Args:
        answers: Squid's end.
        record: called with client, method, incident id and matches before the answer
            goes out.
        new_incident: makes incident ids.
        log: takes one line without secrets.
    """

    def __init__(
        self,
        answers: Answers,
        record: Record,
        new_incident: Callable[[], str],
        log: Callable[[str], None],
    ) -> None:
        self._answers = answers
        self._record = record
        self._new_incident = new_incident
        self._log = log
        self._hits: queue.SimpleQueue[_Hit | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="reports", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Finish what was handed over and end the thread."""
        self._hits.put(None)
        self._thread.join()

    def waiting(self) -> int:
        """How many matches wait to be journalled."""
        return self._hits.qsize()

    def add(self, request: Request, matches: Sequence[Match], *, late: bool) -> None:
        """Journal a match and answer it; if `late`, `fail` has answered it already."""
        self._hits.put(_Hit(request, matches, late))

    def _work(self) -> None:
        while hit := self._hits.get():
            answer = self._handle(hit)
            try:
                self._answers.write(answer)
            except OSError:
                # The main loop sees it, too, and ends.
                continue

    def _handle(self, hit: _Hit) -> bytes:
        incident = self._new_incident()
        try:
            self._record(hit.request.client, hit.request.method, incident, hit.matches)
        except Exception as error:  # noqa: BLE001
            # The text may hold what was matched, so only the type is said.
            self._log(f"a sighting was not journalled: {type(error).__name__}")
        if hit.late:
            self._log(f"the match of {incident} came after the request's deadline")
            return b""
        if any(match.message.action == "block" for match in hit.matches):
            return ok(hit.request.id, incident)
        return err(hit.request.id)
