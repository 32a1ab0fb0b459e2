"""The helper's main loop: it reads lines, and answers at once for hosts that are known clean.

For these `_sort` needs neither the path nor a derivation. All other requests are queued in
`Lookups`, which works on them between two reads.
"""

from __future__ import annotations

import gc
import os
import select
from collections.abc import Callable
from typing import Final

from inkgate.health.monitor import BY_FAIL, REQUESTS, Monitor
from inkgate.helper.answers import Answers
from inkgate.helper.lookups import Lookup, Lookups
from inkgate.helper.protocol import (
    ABSENT,
    CLIENT,
    MIN_FIELDS,
    SERVER,
    SHORT_ID_DIGITS,
    URI,
    USER_AGENT,
    LineSplitter,
    broken,
    err,
    err_from_server,
    passed_by_fail,
    request_id,
)
from inkgate.helper.reports import Reports
from inkgate.helper.rules_in_use import HelperRules, HotFields, watch_rules
from inkgate.helper.settings import HelperSettings
from inkgate.rules.lookup.clean_parts import HOST_FROM, UNPAIRED
from inkgate.rules.lookup.derivers import Derivers
from inkgate.rules.lookup.freshness import Freshness
from inkgate.rules.lookup.rule_set import RuleSet
from inkgate.rules.lookup.verdict_store import LATEST, PUT
from inkgate.rules.lookup.verdicts import Findings

# With a larger buffer single lines are slower, with a smaller one bursts
# (docs/decisions/0044).
READ_BYTES: Final = 1 << 14
# One line is counted of so many batches, to learn which hosts are asked for most.
_SAMPLED: Final = 16


class Helper:
    """Answers Squid's requests.

    Args:
        rule_set: opens the rules.
        settings: section `[helper]`.
        answers: Squid's end.
        reports: where matches go.
        freshness: tells which rule set may still be used.
        monitor: told what goes wrong, and how much there was to do.
        at_each_look: called twice a second, on another thread.

    Attributes:
        keeps_lines_whole: whether the input, when it is made non-blocking, is to be read to the
            end of a line that has begun.
    """

    def __init__(
        self,
        rule_set: RuleSet,
        settings: HelperSettings,
        answers: Answers,
        reports: Reports,
        freshness: Freshness,
        monitor: Monitor,
        at_each_look: Callable[[], None] = lambda: None,
    ) -> None:
        self._by_fail = broken if settings.fail == "closed" else passed_by_fail
        self._monitor = monitor
        self._answers = answers
        self._reports = reports
        self._hot = HotFields(settings.warm_up_hosts)
        self._watcher = watch_rules(rule_set, self._hot, settings, freshness, monitor, self._look)
        self._at_each_look = at_each_look
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._derivers = Derivers(
            settings.workers, lambda: os.eventfd_write(self._wake, 1), monitor
        )
        self._lookups = Lookups(
            self._derivers,
            settings,
            self._settle,
            self._give_up,
            monitor,
        )
        self._poll = select.poll()
        self._out: list[bytes] = []
        # Requests are counted as batches and what is beyond the first line of each, so that
        # a line that comes alone, as nearly all do, costs nothing more.
        self._batches = self._beyond = self._told = 0
        self.keeps_lines_whole = False

    def run(self, fd: int) -> None:
        """Serve until the input ends or has nothing more to give, then answer what is pending.

        Raises:
            OSError: Squid is gone.
        """
        self._watcher.start()
        self._derivers.start()
        # What was made until now lives as long as the process: the garbage collector need
        # not look at it again and again.
        gc.freeze()
        self._poll.register(self._wake, select.POLLIN)
        try:
            self._read_all(fd)
            while self._lookups.count:
                self._wait()
                self._do_pending()
        finally:
            self._watcher.stop()
            self._derivers.stop()
            self._tell_requests()

    def _read_all(self, fd: int) -> None:
        lines = LineSplitter()
        self._poll.register(fd, select.POLLIN)
        # A signal makes the input non-blocking (`_stop_reading`). What Squid has already
        # sent is still read and answered; then reading fails, and the loop ends.
        while True:
            try:
                while data := os.read(fd, READ_BYTES):
                    if not (lines.at_start and self._answer_one(data)):
                        self._handle(lines.feed(data))
                    if self._lookups.count:
                        self._work_until_readable(fd)
                break
            except BlockingIOError:
                if lines.at_start or not self.keeps_lines_whole:
                    break
                # The rest of a line that has begun, for whoever reads after this.
                if self._lookups.count:
                    self._work_until_readable(fd)
                else:
                    self._wait(fd)
        self._poll.unregister(fd)
        self._handle(lines.finish())

    def _work_until_readable(self, fd: int) -> None:
        # At least once: while Squid sends without a pause, new hosts must get answers, too.
        self._do_pending()
        while self._lookups.count and not self._wait(fd):
            self._do_pending()

    def _wait(self, fd: int = -1) -> bool:
        """Wait until there is something to do; True if it is to read from `fd`."""
        ready = self._poll.poll(self._lookups.seconds_to_wait() * 1000)
        if any(number == self._wake for number, _ in ready):
            os.eventfd_read(self._wake)
        return any(number == fd for number, _ in ready)

    def _answer_one(self, data: bytes) -> bool:
        """Answer a line that came alone, as nearly all do; False if `_sort` must look at it.

        It answers what `_sort` would, which needs twice as long for one line.
        """
        rules = self._watcher.current
        if rules is None or data.find(b"\n") != len(data) - 1:
            return False
        fields = data.split(b" ", USER_AGENT + 1)
        if len(fields) < MIN_FIELDS:
            return False
        uri = fields[URI]
        end = uri.find(b"/", HOST_FROM)
        key = uri if end < 0 else uri[:end]
        clean = rules.clean
        hosts = clean.hosts
        identity = fields[0]
        verdicts = rules.verdicts
        if (
            (key in hosts.young or hosts.get(key))
            and (
                fields[SERVER] == ABSENT
                or (known := clean.servers.get(fields[SERVER])) == UNPAIRED
                or (known and hosts.get(key) == UNPAIRED)
            )
            and (rules.plain or clean.agents.get(fields[USER_AGENT]))
            and len(identity) <= SHORT_ID_DIGITS
            and identity.isdigit()
            and (
                verdicts.numbers[LATEST] == verdicts.over
                or (
                    verdicts.numbers[PUT] == rules.remembered.looked_at
                    and key in rules.remembered.absent.young
                )
                or not rules.is_remembered(fields, key)
            )
        ):
            self._answers.write(identity + b" ERR\n")
            self._sample(data)
            return True
        return False

    def _handle(self, lines: list[bytes]) -> None:
        rules = self._watcher.current
        if not lines:
            return
        if rules is None:
            self._answer_without_rules(lines)
        else:
            self._sort(lines, rules)
        if self._out:
            self._flush()

    def _answer_without_rules(self, lines: list[bytes]) -> None:
        answers = [self._unable(request) for line in lines if (request := request_id(line))]
        self._out += answers
        self._batches += 1
        self._beyond += len(lines) - 1
        # Once for each time that it begins, which is counted where it is met first; how many
        # requests it concerns is what `fail` answered.
        self._monitor.met(self._watcher.lack, count=0)

    def _sort(self, lines: list[bytes], rules: HelperRules) -> None:
        """Answer the requests that are known to be clean and queue the others."""
        hosts, servers, agents = rules.clean.hosts, rules.clean.servers, rules.clean.agents
        young = hosts.young
        plain = rules.plain
        remembered = rules.remembered
        # As `may_hold` has it.
        is_as_before = rules.verdicts.numbers[PUT] == remembered.looked_at
        absent = remembered.absent.young if is_as_before else {}
        nothing_remembered = rules.verdicts.is_empty
        # The line is split no further than it is read: the User-Agent is its longest field.
        cuts = SERVER + 1 if plain else USER_AGENT + 1
        clean: list[bytes] = []
        for line in lines:
            fields = line.split(b" ", cuts)
            if len(fields) >= MIN_FIELDS:
                uri = fields[URI]
                # As `host_key` has it; a call costs as much as all of this.
                end = uri.find(b"/", HOST_FROM)
                key = uri if end < 0 else uri[:end]
                identity = fields[0]
                if (
                    (key in young or hosts.get(key))
                    and (
                        fields[SERVER] == ABSENT
                        or (known := servers.get(fields[SERVER])) == UNPAIRED
                        or (known and hosts.get(key) == UNPAIRED)
                    )
                    and (plain or agents.get(fields[USER_AGENT]))
                    and len(identity) <= SHORT_ID_DIGITS
                    and identity.isdigit()
                    and (
                        nothing_remembered or key in absent or not rules.is_remembered(fields, key)
                    )
                ):
                    clean.append(identity)
                    continue
            if request := request_id(line):
                self._queue(request, line, rules)
            else:
                self._monitor.met("line-refused", "Squid sent a line without an ID: no answer")
        if clean:
            self._answers.write(b" ERR\n".join(clean) + b" ERR\n")
        self._beyond += len(lines) - 1
        self._sample(lines[-1])

    def _sample(self, line: bytes) -> None:
        self._batches += 1
        if not self._batches % _SAMPLED:
            self._hot.count(line.rstrip().split(b" "))

    def _queue(self, request: bytes, line: bytes, rules: HelperRules) -> None:
        if not self._lookups.add(line, rules):
            self._monitor.met("queue-full", f"{self._lookups.count} requests wait already")
            self._out.append(self._unable(request))

    def _unable(self, request: bytes) -> bytes:
        """The answer to a request on which there is no verdict."""
        self._monitor.count(BY_FAIL)
        return self._by_fail(request)

    def _look(self) -> None:
        self._tell_requests()
        self._at_each_look()

    def _tell_requests(self) -> None:
        requests = self._batches + self._beyond
        self._monitor.count(REQUESTS, requests - self._told)
        self._told = requests

    def _do_pending(self) -> None:
        self._lookups.work()
        self._flush()

    def _flush(self) -> None:
        out = self._out
        if out:
            data = out[0] if len(out) == 1 else b"".join(out)
            out.clear()
            self._answers.write(data)

    def _settle(self, lookup: Lookup, found: Findings | None) -> None:
        if found is not None and lookup.request is not None:
            lookup.rules.clean.remember(lookup.fields, found)
            if found.matches:
                self._out.append(
                    self._reports.answer(lookup.request, found.matches, late=lookup.answered)
                )
                # After the answer, which stands whether this works or not.
                if found.at_server:
                    lookup.rules.opened.remembered.keep_server(
                        lookup.request.observed, found.at_server, lookup.fields[CLIENT]
                    )
                return
        if not lookup.answered:
            self._out.append(self._answer_to(lookup, found))

    def _answer_to(self, lookup: Lookup, found: Findings | None) -> bytes:
        if found is None:
            return self._unable(lookup.fields[0])
        return (err_from_server if lookup.asks_server else err)(lookup.fields[0])

    def _give_up(self, lookup: Lookup) -> None:
        self._out.append(self._unable(lookup.fields[0]))
