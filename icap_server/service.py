"""Verdicts on requests and replies: the rules, what is remembered of them, the journal."""

from __future__ import annotations

import contextlib
import ipaddress
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, NamedTuple

import msgspec

from inkgate.health.monitor import BY_FAIL, REQUESTS, Monitor
from inkgate.icap_server.protocol.http import HttpRequest
from inkgate.icap_server.rules_in_use import HotMessages, IcapRules, new_rules
from inkgate.icap_server.settings import IcapSettings
from inkgate.rules.errors import PackError
from inkgate.rules.lookup.freshness import Freshness
from inkgate.rules.lookup.matcher import Match, Matcher
from inkgate.rules.lookup.observed import Observed
from inkgate.rules.lookup.remembered import NOTHING, Before
from inkgate.rules.lookup.replies import digest_matches, filename_matches, server_matches
from inkgate.rules.lookup.rule_set import OpenRuleSet, RuleSet
from inkgate.rules.lookup.verdicts import examine
from inkgate.rules.lookup.watcher import Watcher
from inkgate.sightings.journal.recorder import RecordIncident


class Verdict(NamedTuple):
    """What becomes of a message.

    Attributes:
        blocked: it must not go on.
        incident: the incident id, empty if nothing matched.
        asks_server: it may go on, but the proxy's cache is not to answer it.
    """

    blocked: bool
    incident: str
    asks_server: bool = False


class NoVerdictError(Exception):
    """No verdict can be given; the setting `fail` decides.

    Args:
        condition: why, from the table of conditions.
        detail: what exactly, without secrets.
    """

    def __init__(self, condition: str, detail: str = "") -> None:
        super().__init__(detail or condition)
        self.condition = condition
        self.detail = detail


_PORT: Final = re.compile(r"[0-9]{1,5}")
PASS = Verdict(blocked=False, incident="")


class Service:
    """Gives verdicts; one for each worker process, shared by its threads.

    Args:
        rule_set: opens the rules.
        settings: section `[icap]`.
        report: puts a match into the journal, before its verdict is given.
        new_incident: makes incident ids.
        freshness: tells which rule set may still be used.
        monitor: told what goes wrong.

    Attributes:
        watcher: keeps the rules up to date, once it is started.
        hot: what clients ask for most.
    """

    def __init__(
        self,
        rule_set: RuleSet,
        settings: IcapSettings,
        report: RecordIncident,
        new_incident: Callable[[], str],
        freshness: Freshness,
        monitor: Monitor,
    ) -> None:
        self._report = report
        self._new_incident = new_incident
        self._settings = msgspec.json.encode(settings)
        self._cached_hosts = settings.cached_hosts
        self.monitor = monitor
        self._no_rules = new_rules(None, self._settings, 1)
        self.hot = HotMessages(settings)
        self.watcher = Watcher(
            rule_set,
            self._prepare,
            self.hot.requests,
            settings.warm_up_seconds,
            freshness,
            monitor,
            self.tell_requests,
        )
        self._told = 0

    @property
    def rules(self) -> IcapRules:
        """The rules to judge by from now on."""
        return self.watcher.current or self._no_rules

    def _prepare(self, opened: OpenRuleSet) -> IcapRules:
        return new_rules(opened, self._settings, self._cached_hosts)

    def tell_requests(self) -> None:
        """Add the messages since the last time to their counter."""
        messages = self.hot.messages
        self.monitor.count(REQUESTS, messages - self._told)
        self._told = messages

    def told(self, error: NoVerdictError) -> None:
        """Count and log that `fail` answers a message, and why."""
        self.monitor.count(BY_FAIL)
        self.monitor.met(error.condition, error.detail, 1)

    def _matcher(self, rules: IcapRules) -> Matcher:
        if rules.matcher is None:
            raise NoVerdictError(self.watcher.lack)
        return rules.matcher

    def judge_request(
        self,
        rules: IcapRules,
        request: HttpRequest,
        client: str,
        spelled: tuple[bytes | None, bytes],
    ) -> Verdict:
        """The verdict on a request, and remember it if it is clean.

        Args:
            rules: those to judge by.
            request: the HTTP request.
            client: whose it is, an address or empty.
            spelled: how the host and the User-Agent are spelled, as `IcapRules` remembers them.

        Raises:
            NoVerdictError: there are no sound rules.
        """
        matcher = self._matcher(rules)
        observed = Observed(request.method, request.uri, "", request.user_agent)
        with _errors_as_no_verdict():
            before = _before(rules, observed)
            if before.matches:
                return self._verdict(client, request.method, before.matches)
            found = examine(observed, matcher)
            # A server may look at any of them.
            others = [matcher.user_agent(agent) for agent in request.more_agents]
        rules.remember(*spelled, found)
        matches = (*found.matches, *(match for other in others for match in other))
        verdict = self._verdict(client, request.method, matches)
        return verdict._replace(asks_server=before.asks_server)

    def judge_name(self, rules: IcapRules, request: HttpRequest, name: str, client: str) -> Verdict:
        """The verdict on the name that is asked for inside a tunnel.

        Raises:
            NoVerdictError: there are no sound rules.
        """
        port = request.uri.rpartition(":")[2]
        observed = Observed(request.method, f"{name}:{port}")
        matcher = self._matcher(rules)
        with _errors_as_no_verdict():
            found = _before(rules, observed).matches or examine(observed, matcher).matches
        return self._verdict(client, request.method, found)

    def judge_server(
        self, rules: IcapRules, request: HttpRequest, server: str, client: str
    ) -> Verdict:
        """The verdict on the server that answered.

        Args:
            rules: those to judge by.
            request: what it answered.
            server: its address, and after a space the port, if the proxy tells it.
            client: whose it is, an address or empty.

        Raises:
            NoVerdictError: there are no sound rules.
        """
        matcher = self._matcher(rules)
        address, _, port = server.partition(" ")
        with _errors_as_no_verdict():
            found = server_matches(address, request.method, request.uri, matcher, _port(port))
            if found and rules.remembered is not None:
                rules.remembered.keep_server(_observed(request), found)
        return self._verdict(client, request.method, found)

    def judge_names(
        self, rules: IcapRules, names: Sequence[str], request: HttpRequest, client: str
    ) -> Verdict:
        """The verdict on what a file may be called.

        Raises:
            NoVerdictError: there are no sound rules.
        """
        if not rules.replies.filename:
            return PASS
        matcher = self._matcher(rules)
        with _errors_as_no_verdict():
            found = tuple(filename_matches(names, matcher))
        return self._verdict(client, request.method, found)

    def judge_body(
        self,
        rules: IcapRules,
        digests: Iterable[dict[str, str]],
        names: Sequence[str],
        request: HttpRequest,
        client: str,
        validators: Sequence[bytes],
    ) -> Verdict:
        """The verdict on a body, by the digests of each form in which it was seen.

        Args:
            rules: those to judge by.
            digests: one group of them a form.
            names: what the file may be called.
            request: the HTTP request.
            client: whose it is, an address or empty.
            validators: what tells the file from others of its site.

        Raises:
            NoVerdictError: there are no sound rules.
        """
        matcher = self._matcher(rules)
        with _errors_as_no_verdict():
            found = tuple(
                match
                for seen in digests
                for match in digest_matches(seen, names, rules.replies, matcher)
            )
            if found and rules.remembered is not None:
                rules.remembered.keep_file(_observed(request), validators, found)
        return self._verdict(client, request.method, found)

    def judge_part(
        self, rules: IcapRules, validators: Sequence[bytes], request: HttpRequest, client: str
    ) -> Verdict:
        """The verdict on a part of a file, by what was found of the whole file before.

        Raises:
            NoVerdictError: there are no sound rules.
        """
        if rules.remembered is None or not validators:
            return PASS
        with _errors_as_no_verdict():
            found = rules.remembered.of_part(_observed(request), validators)
        return self._verdict(client, request.method, found)

    def _verdict(self, client: str, method: str, matches: Sequence[Match]) -> Verdict:
        if not matches:
            return PASS
        incident = self._new_incident()
        self._report(client, method, incident, matches)
        return Verdict(any(m.message.action == "block" for m in matches), incident)


def _observed(request: HttpRequest) -> Observed:
    return Observed(request.method, request.uri)


def _before(rules: IcapRules, request: Observed) -> Before:
    """What is known of a request by the replies to earlier ones."""
    return NOTHING if rules.remembered is None else rules.remembered.of_request(request)


@contextlib.contextmanager
def _errors_as_no_verdict() -> Iterator[None]:
    """A look-up that fails, whatever the reason, gives no verdict."""
    try:
        yield
    except PackError as error:
        raise NoVerdictError("rule-damaged", str(error)) from None
    except Exception as error:  # noqa: BLE001 (whatever it is: `fail` answers)
        # The text may hold the value that caused it, so only the type is said.
        what = f"a look-up failed: {type(error).__name__}"
        raise NoVerdictError("lookup-failed", what) from None


def _port(text: str) -> int | None:
    return int(text) if _PORT.fullmatch(text) else None


def client_address(field: bytes) -> str:
    """The address in an X-Client-IP field, or nothing if it is none."""
    try:
        return str(ipaddress.ip_address(field.decode("ascii").strip()))
    except (UnicodeDecodeError, ValueError):
        return ""
