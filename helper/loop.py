"""The helper's main loop: read a batch, answer what is known, hand on what is not.

Everything that a clean host needs happens in `_sort`, without looking at the
path; all the rest happens on worker threads, whose derivations release the
interpreter lock, so a new name never holds up a known one.
"""

from __future__ import annotations

import contextlib
import os
import queue
import select
import threading
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from helper.protocol import (
    MIN_FIELDS,
    SERVER,
    SHORT_ID_DIGITS,
    URI,
    USER_AGENT,
    LineSplitter,
    broken,
    err,
    ok,
    parse_request,
    request_id,
)
from helper.settings import HelperSettings
from rules.errors import PackError
from rules.live.recent import Recent
from rules.live.ruleset import RuleSet
from rules.live.verdicts import examine
from rules.matcher import Match, Matcher

READ_BYTES: Final = 1 << 18
# Where the host is surely over: "http://" and one character of it have 8 bytes.
_HOST_FROM: Final = 8
_MAX_KEY_BYTES: Final = 300

Report = Callable[[str, str, str, Sequence[Match]], None]


class Answers:
    """The only way to Squid: whole lines, one writer at a time."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._lock = threading.Lock()

    def write(self, data: bytes) -> None:
        """Write all of it; wait while Squid does not read.

        Raises:
            OSError: Squid is gone.
        """
        with self._lock:
            view = memoryview(data)
            while view:
                try:
                    view = view[os.write(self._fd, view) :]
                except BlockingIOError:
                    # Squid gives one socket for both directions, so it may be the
                    # reading side that made it non-blocking.
                    select.select([], [self._fd], [])


class _Clean(NamedTuple):
    """What is known to be clean in one generation, by its spelling in Squid's lines."""

    hosts: Recent[bytes, bool]
    servers: Recent[bytes, bool]
    agents: Recent[bytes, bool]


class Helper:
    """Answers Squid's requests.

    Args:
        rule_set: where the matcher comes from.
        settings: section `[helper]`.
        answers: Squid's end.
        report: called with client, method, incident id and matches before the answer
            goes out.
        new_incident: makes incident ids.
        log: takes one line without secrets.
    """

    def __init__(
        self,
        rule_set: RuleSet,
        settings: HelperSettings,
        answers: Answers,
        report: Report,
        new_incident: Callable[[], str],
        log: Callable[[str], None],
    ) -> None:
        self._rule_set = rule_set
        self._settings = settings
        self._unable = broken if settings.fail == "closed" else err
        self._answers = answers
        self._report = report
        self._new_incident = new_incident
        self._log = log
        self._clean = self._nothing_known()
        self._work: queue.SimpleQueue[tuple[bytes, Matcher, _Clean] | None] = queue.SimpleQueue()
        self._workers = [
            threading.Thread(target=self._worker, name=f"lookup-{n}", daemon=True)
            for n in range(settings.workers)
        ]

    def run(self, fd: int) -> None:
        """Serve until the input ends or has nothing more to give, then answer what is pending.

        Raises:
            OSError: Squid is gone.
        """
        for worker in self._workers:
            worker.start()
        lines = LineSplitter()
        # A signal makes the input non-blocking: what Squid has already sent is still
        # read and answered, and then the reading ends.
        with contextlib.suppress(BlockingIOError):
            while data := os.read(fd, READ_BYTES):
                self._handle(lines.feed(data))
        self._handle(lines.finish())
        for _ in self._workers:
            self._work.put(None)
        for worker in self._workers:
            worker.join()

    def _handle(self, lines: list[bytes]) -> None:
        if not lines:
            return
        if self._rule_set.fresh():
            # Verdicts belong to a generation; lookups under way keep the old object.
            self._clean = self._nothing_known()
        matcher = self._rule_set.matcher
        if matcher is None:
            out = [self._unable(i) for line in lines if (i := request_id(line))]
        else:
            out = self._sort(lines, matcher)
        if out:
            self._answers.write(b"".join(out))

    def _sort(self, lines: list[bytes], matcher: Matcher) -> list[bytes]:
        """Answer the requests that are known to be clean and queue the others."""
        hosts, servers, agents = self._clean
        young = hosts.young
        plain = not matcher.has_user_agents
        out = []
        for line in lines:
            fields = line.split(b" ")
            if (
                len(fields) >= MIN_FIELDS
                and ((key := host_key(fields[URI])) in young or hosts.get(key))
                and (fields[SERVER] == b"-" or servers.get(fields[SERVER]))
                and (plain or agents.get(fields[USER_AGENT]))
                and len(fields[0]) <= SHORT_ID_DIGITS
                and fields[0].isdigit()
            ):
                out.append(fields[0] + b" ERR\n")
            elif request := request_id(line):
                if self._work.qsize() < self._settings.pending:
                    self._work.put((line, matcher, self._clean))
                else:
                    out.append(self._unable(request))
        return out

    def _worker(self) -> None:
        while (item := self._work.get()) is not None:
            line = item[0]
            try:
                answer = self._answer(*item)
            except PackError as error:
                self._log(str(error))
                answer = self._unable_line(line)
            except Exception as error:  # noqa: BLE001
                # The text may hold the value that caused it, so only the type is said.
                self._log(f"a lookup failed: {type(error).__name__}")
                answer = self._unable_line(line)
            try:
                self._answers.write(answer)
            except OSError:
                return

    def _answer(self, line: bytes, matcher: Matcher, clean: _Clean) -> bytes:
        request = parse_request(line)
        if request is None:
            return self._unable_line(line)
        found = examine(request.observed, matcher)
        self._remember(line, found.clean_host, found.clean_server, found.clean_agent, clean)
        if not found.matches:
            return err(request.id)
        incident = self._new_incident()
        self._report(request.client, request.method, incident, found.matches)
        if any(match.message.action == "block" for match in found.matches):
            return ok(request.id, incident)
        return err(request.id)

    def _remember(self, line: bytes, host: bool, server: bool, agent: bool, clean: _Clean) -> None:
        fields = line.split(b" ")
        for known, cache, key in (
            (host, clean.hosts, host_key(fields[URI])),
            (server, clean.servers, fields[SERVER]),
            (agent, clean.agents, fields[USER_AGENT]),
        ):
            if known and len(key) <= _MAX_KEY_BYTES:
                cache.put(key, True)

    def _unable_line(self, line: bytes) -> bytes:
        return self._unable(line.split(b" ", 1)[0])

    def _nothing_known(self) -> _Clean:
        limit = self._settings.cached_hosts
        return _Clean(Recent(limit), Recent(limit // 4), Recent(limit // 16))


def host_key(uri: bytes) -> bytes:
    """The part of a URI that decides its host: everything before the path.

    Two URIs with the same key have the same scheme, host and port, in whatever
    spelling. (The key may be longer than that; then it only fits fewer URIs.)
    """
    end = uri.find(b"/", _HOST_FROM)
    return uri if end < 0 else uri[:end]
