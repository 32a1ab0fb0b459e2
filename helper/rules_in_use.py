"""What the helper answers from, and what it looks up before it answers from new rules."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Final, NamedTuple

from inkgate.health.monitor import Monitor
from inkgate.helper.clean_fields import CleanFields, host_key
from inkgate.helper.protocol import (
    ABSENT,
    METHOD,
    MIN_FIELDS,
    SERVER,
    URI,
    USER_AGENT,
    parse_request,
    text_of,
)
from inkgate.helper.settings import HelperSettings
from inkgate.rules.lookup.freshness import Freshness
from inkgate.rules.lookup.hottest import HotParts, RequestPart
from inkgate.rules.lookup.remembered import Remembered
from inkgate.rules.lookup.rule_set import OpenRuleSet, RuleSet
from inkgate.rules.lookup.verdict_store import VerdictStore
from inkgate.rules.lookup.warming import HotRequest
from inkgate.rules.lookup.watcher import Watcher

_PLACES: Final[dict[RequestPart, int]] = {"agent": USER_AGENT, "server": SERVER, "host": URI}


class HelperRules(NamedTuple):
    """What requests are answered from.

    Attributes:
        opened: the rule set.
        clean: what is known to be clean in it.
        plain: no User-Agent is listed, so the header need not be read.
        remembered: verdicts on replies.
        verdicts: where they lie.
    """

    opened: OpenRuleSet
    clean: CleanFields
    plain: bool
    remembered: Remembered
    verdicts: VerdictStore

    def is_remembered(self, fields: list[bytes], host: bytes) -> bool:
        """Whether a reply of a request's site was blocked before, and no server is asked now.

        Args:
            fields: Squid's line.
            host: its `host_key`.
        """
        return fields[SERVER] == ABSENT and self.remembered.may_hold(host, text_of)


class HotFields:
    """What Squid asks for most.

    Args:
        hosts: so many of the hottest hosts are of interest.
    """

    def __init__(self, hosts: int) -> None:
        self._parts = HotParts(hosts)

    def count(self, fields: list[bytes]) -> None:
        """Count one request."""
        if len(fields) < MIN_FIELDS:
            return
        self._parts.count("host", host_key(fields[URI]))
        self._parts.count("server", fields[SERVER])
        self._parts.count("agent", fields[USER_AGENT])

    def requests(self, rules: HelperRules) -> Iterator[HotRequest]:
        """One request for each host, server and User-Agent that is asked for most, these first."""
        for part, spelled in self._parts.most():
            fields = [b"0", b"GET", *[ABSENT] * (MIN_FIELDS - 2)]
            fields[_PLACES[part]] = spelled
            if part == "host" and b"://" not in spelled:
                fields[METHOD] = b"CONNECT"
            request = parse_request(b" ".join(fields))
            if spelled != ABSENT and request is not None:
                yield request.observed, partial(rules.clean.remember, fields)


def watch_rules(
    rule_set: RuleSet,
    hot: HotFields,
    settings: HelperSettings,
    freshness: Freshness,
    monitor: Monitor,
    at_each_look: Callable[[], None],
) -> Watcher[HelperRules]:
    """What keeps the helper's rules up to date."""

    def prepare(opened: OpenRuleSet) -> HelperRules:
        clean = CleanFields(settings.cached_hosts)
        plain = not opened.matcher.has_user_agents
        remembered = opened.remembered
        return HelperRules(opened, clean, plain, remembered, remembered.store)

    return Watcher(
        rule_set,
        prepare,
        hot.requests,
        settings.warm_up_seconds,
        freshness,
        monitor,
        at_each_look,
    )
