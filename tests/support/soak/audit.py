"""Whether what clients saw, what Squid logged and what inkgate counted agree."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import NamedTuple

from inkgate.config.owner import as_owner
from inkgate.health.conditions import BY_NAME
from inkgate.sightings.journal.journal import Journal
from support.soak.load import Asked
from support.soak.setup import UNAVAILABLE, Setup, Window

# An incident may be lost with a process that is killed within 20 ms of it; the kill is noted
# a moment before it is done.
_UNWRITTEN_SECONDS = 1.0
_CONDITION = re.compile(r": (?:critical|warning|notice): ([a-z-]+): ")


class Line(NamedTuple):
    """One line of the set-up's own log of Squid.

    Attributes:
        method: GET or POST; of ICAP REQMOD or RESPMOD.
        status: HTTP's; of ICAP its own, 0 if Squid gave the message up.
        url: whose.
        said: what stands in the place of an incident id.
    """

    method: str
    status: str
    url: str
    said: str

    @property
    def is_by_fail(self) -> bool:
        return self.said == UNAVAILABLE

    @property
    def is_answered(self) -> bool:
        """Whether inkgate answered it, and did not only Squid give it up."""
        return self.status not in ("0", "-")


class Audit:
    """One set-up's books.

    Args:
        setup: that has no load any more.
        asked: all that its clients asked.
    """

    def __init__(self, setup: Setup, asked: list[Asked]) -> None:
        self.setup = setup
        self.asked = asked
        self.numbers = setup.total()
        self.lines = list(_lines(setup))
        self.by_url: dict[str, list[Line]] = {}
        for line in self.lines:
            self.by_url.setdefault(line.url, []).append(line)
        self.passed = [a for a in asked if a.is_listed and a.outcome == "passed"]
        self.by_fail = sum(line.is_by_fail for line in self.lines)
        self.unanswered = sum(not line.is_answered for line in self.lines)
        self.bypassed: list[Asked] = []

    def faults(self) -> list[str]:
        """All that is not as it must be, a line each."""
        found = list(self._of_passes())
        found += self._of_refusals()
        found += self._of_sums()
        found += self._of_conditions()
        found += self._of_incidents()
        if "Traceback" in self.setup.own_log:
            found.append("a Traceback is in the log")
        if self.setup.squid.process.poll() is not None:
            found.append("Squid has ended")
        return [f"{self.setup.name}: {text}" for text in found]

    def _of_passes(self) -> Iterator[str]:
        if self.setup.fail == "closed":
            if self.passed:
                yield f"{len(self.passed)} listed requests passed, as {self.passed[0].url}"
            return
        for asked in self.passed:
            deciding = self._deciding(asked)
            if any(line.is_by_fail for line in deciding):
                continue
            if any(line.is_answered for line in deciding):
                yield f"{asked.url} passed, and is not marked: {deciding}"
            elif self.setup.counts_bypasses or self._is_in_outage(asked):
                self.bypassed.append(asked)
            else:
                seconds = asked.ended - asked.began
                yield (
                    f"{asked.url} passed unasked at {asked.began:.1f} after {seconds:.1f} s, and "
                    f"nothing was killed or stopped: {deciding}"
                )

    def _deciding(self, asked: Asked) -> list[Line]:
        """The lines of the message in which it must have been found."""
        lines = self.by_url.get(asked.url, [])
        if self.setup.front == "helper":
            return lines
        method = "RESPMOD" if asked.kind == "file" else "REQMOD"
        return [line for line in lines if line.method == method]

    def _is_in_outage(self, asked: Asked) -> bool:
        return _is_within(asked, self.setup.outages)

    def _of_refusals(self) -> Iterator[str]:
        for asked in self.asked:
            if asked.outcome == "passed" or asked.is_listed:
                continue
            if asked.outcome == "blocked":
                yield f"{asked.url} is not listed, and was blocked: {asked.incident}"
            elif self.setup.fail == "open" and not self._is_interrupted(asked):
                yield f"{asked.url} was {asked.outcome} ({asked.detail}), and nothing was killed"

    def _is_interrupted(self, asked: Asked) -> bool:
        return self._is_in_outage(asked) or _is_within(asked, self.setup.interruptions)

    def _of_sums(self) -> Iterator[str]:
        """Requests that `fail` answered: Squid's log has as many as inkgate counted.

        Of those whose process was killed, or given up by Squid, the answer may be in one of
        both only.
        """
        if self.setup.fail == "open":
            counted = self.numbers.get("by_fail", 0)
            # Of those that passed unasked, too, Squid may have ended before it logged them.
            given_up = self.unanswered + self._refused() + len(self.bypassed)
            if not self.by_fail <= counted <= self.by_fail + given_up:
                yield (
                    f"Squid's log has {self.by_fail} answers of `fail` and {given_up} that were "
                    f"given up, inkgate counted {counted}"
                )

        if self.setup.counts_bypasses:
            counted = self.numbers.get("squid-bypassed", 0)
            passed = self._unanswered_passes()
            # The other message of a request may have been given up, or Squid ended before it
            # logged a request; and a client that went away is none that it passed for.
            spare = self.unanswered + self._refused()
            if not passed <= counted <= passed + spare:
                yield f"{passed} requests passed unanswered, inkgate counted {counted} ({spare})"

    def _unanswered_passes(self) -> int:
        """Requests, listed or not, whose clients got something that nobody had judged."""
        return sum(
            a.outcome == "passed" and not any(x.is_answered for x in self.by_url.get(a.url, []))
            for a in self.asked
        )

    def _refused(self) -> int:
        return sum(a.outcome in ("refused", "unable", "broken") for a in self.asked)

    def _of_conditions(self) -> Iterator[str]:
        """What was counted was said."""
        said = Counter(_CONDITION.findall(self.setup.own_log))
        for name, number in self.numbers.items():
            if name in BY_NAME and number and not said[name]:
                yield f"{name} was counted {number} times, and never said"

    def _of_incidents(self) -> Iterator[str]:
        """What users were shown is in a journal."""
        known = set(_incidents(self.setup))
        for asked in self.asked:
            if asked.incident and asked.incident not in known and not self._is_near_kill(asked):
                yield f"{asked.incident} ({asked.kind}) is in no journal"

    def _is_near_kill(self, asked: Asked) -> bool:
        earlier = (w._replace(began=w.began - _UNWRITTEN_SECONDS) for w in self.setup.outages)
        return _is_within(asked, earlier)

    def summary(self) -> dict[str, object]:
        """Figures for the result."""
        outcomes = Counter(f"{'listed' if a.is_listed else 'unlisted'} {a.outcome}"
                           for a in self.asked)  # fmt: skip
        return {
            "requests": len(self.asked),
            "outcomes": dict(sorted(outcomes.items())),
            "listed passed": len(self.passed),
            "passed past a server that was gone": len(self.bypassed),
            "answers of fail in Squid's log": self.by_fail,
            "messages that Squid gave up": self.unanswered,
            "counted by inkgate": dict(sorted(self.numbers.items())),
            "serial at the end": self.setup.serial(),
            "Squid ended by a fault of its own": self.setup.crashes,
        }


def _is_within(asked: Asked, windows: Iterable[Window]) -> bool:
    return any(w.began <= asked.ended and asked.began <= w.ended for w in windows)


def _lines(setup: Setup) -> Iterator[Line]:
    for text in setup.log.read_text("utf-8", "replace").splitlines():
        parts = text.split("|")
        if setup.front == "helper":
            _, _, status, method, url, said = parts
            yield Line(method, status, url, said)
        elif parts[1] in ("REQMOD", "RESPMOD"):
            _, method, _, status, url, said = parts
            yield Line(method, status, url, said)


def _incidents(setup: Setup) -> Iterable[str]:
    run = setup.installation.folder / "run"
    for path in (run / "sightings.db", *setup.journals.glob("*-sightings.db")):
        if path.exists():
            # Root opens nothing in a folder of Squid's user.
            with as_owner(path.parent), closing(Journal(path)) as journal:
                found = [sighting.incident for sighting in journal.read()]
            yield from found
