"""Verdicts on requests and replies: the rules, what is remembered of them, the journal."""

from __future__ import annotations

import contextlib
import ipaddress
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import NamedTuple, TypeVar

import msgspec

from inkgate.health.monitor import BY_FAIL, REQUESTS, Monitor
from inkgate.icap_server.lookups import Asker, Lookups, NoVerdictError
from inkgate.icap_server.protocol.http import HttpRequest
from inkgate.icap_server.rules_in_use import HotMessages, IcapRules, new_rules
from inkgate.icap_server.settings import IcapSettings
from inkgate.rules.errors import PackError
from inkgate.rules.lookup.freshness import Freshness
from inkgate.rules.lookup.matcher import Match, Matcher
from inkgate.rules.lookup.observed import Observed, port_of
from inkgate.rules.lookup.remembered import NOTHING, Before
from inkgate.rules.lookup.replies import (
    ReplyClasses,
    digest_steps,
    filename_steps,
    server_match_steps,
)
from inkgate.rules.lookup.rule_set import OpenRuleSet, RuleSet
from inkgate.rules.lookup.steps import Steps
from inkgate.rules.lookup.verdicts import Findings, SoFar, blocks, examination, found_so_far
from inkgate.rules.lookup.watcher import Watcher
from inkgate.sightings.journal.recorder import RecordIncident

T = TypeVar("T")


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
        self._lookups = Lookups(settings, monitor)
        self._seconds = settings.deadline_seconds
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

    def start(self) -> None:
        """Open the rules, and be ready to look up in them."""
        self._lookups.start()
        self.watcher.start()

    def stop(self) -> None:
        """Give no more verdicts that need a derivation."""
        self.watcher.stop()
        self._lookups.stop()

    def asker(self, client: str, method: str) -> Asker:
        """Who waits for a verdict from now on, until the deadline.

        Args:
            client: an address, or empty.
            method: ICAP's.
        """
        return Asker(client, method, time.monotonic() + self._seconds)

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

    def told(self, error: NoVerdictError, *, again: bool = False) -> None:
        """Count and log that `fail` answers a message, and why.

        Args:
            again: whether it was counted before, for something else that could not be judged.
        """
        if not again:
            self.monitor.count(BY_FAIL)
        if error.condition:
            self.monitor.met(error.condition, error.detail, 1)

    def _matcher(self, rules: IcapRules) -> Matcher:
        if rules.matcher is None:
            raise NoVerdictError(self.watcher.lack)
        return rules.matcher

    def _look_up(
        self, rules: IcapRules, steps: Callable[[Matcher], Steps[T]], asker: Asker, so_far: SoFar
    ) -> T | None:
        """What a look-up comes to; None if what was found of it is all that counts.

        Raises:
            NoVerdictError: there are no sound rules, or no verdict by the deadline.
        """
        matcher, keys = self._matcher(rules), rules.keys
        assert keys is not None  # noqa: S101 (there is a matcher)
        try:
            with _errors_as_no_verdict():
                return self._lookups.finish(steps(matcher), matcher, keys, asker, so_far)
        except NoVerdictError as error:
            if not blocks(found_so_far(so_far)):
                raise
            # A rule that blocks decides, whatever else could not be told.
            if error.condition not in ("", "deadline-passed"):
                self.monitor.met(error.condition, error.detail, 1)
            return None

    def judge_request(
        self,
        rules: IcapRules,
        request: HttpRequest,
        asker: Asker,
        spelled: tuple[bytes | None, bytes],
    ) -> Verdict:
        """The verdict on a request, and remember it if it is clean.

        Args:
            rules: those to judge by.
            request: the HTTP request.
            asker: whose it is.
            spelled: how the host and the User-Agent are spelled, as `IcapRules` remembers them.

        Raises:
            NoVerdictError: there are no sound rules, or no verdict by the deadline. So it is
                with the other verdicts.
        """
        observed = Observed(request.method, request.uri, "", request.user_agent)
        before = _before(rules, observed, asker)
        if before.matches:
            return self._verdict(asker, request, [list(before.matches)])
        so_far: SoFar = []
        found = self._look_up(rules, partial(_request_steps, request, so_far), asker, so_far)
        if found is not None:
            rules.remember(*spelled, found)
        verdict = self._verdict(asker, request, so_far)
        return verdict._replace(asks_server=before.asks_server)

    def judge_name(
        self, rules: IcapRules, request: HttpRequest, name: str, asker: Asker
    ) -> Verdict:
        """The verdict on the name that is asked for inside a tunnel."""
        so_far: SoFar = []
        observed = Observed(request.method, f"{name}:{request.uri.rpartition(':')[2]}")
        before = _before(rules, observed, asker)
        if before.matches:
            return self._verdict(asker, request, [list(before.matches)])
        steps = partial(examination, observed, so_far=so_far)
        self._look_up(rules, steps, asker, so_far)
        return self._verdict(asker, request, so_far)

    def judge_server(
        self, rules: IcapRules, request: HttpRequest, server: str, asker: Asker
    ) -> Verdict:
        """The verdict on the server that answered.

        Args:
            rules: those to judge by.
            request: what it answered.
            server: its address, and after a space the port, if the proxy tells it.
            asker: whose it is.
        """
        found: list[Match] = []
        address, _, after = server.partition(" ")
        port = port_of(after.encode())
        method, uri = request.method, request.uri
        steps = partial(server_match_steps, address, method, uri, into=found, port=port)
        self._look_up(rules, steps, asker, [found])
        verdict = self._verdict(asker, request, [found])
        if found and rules.remembered is not None:
            observed = Observed(method, uri, port=port)
            self._keep(
                partial(rules.remembered.keep_server, observed, found, asker.client.encode())
            )
        return verdict

    def judge_names(
        self, rules: IcapRules, names: Sequence[str], request: HttpRequest, asker: Asker
    ) -> Verdict:
        """The verdict on what a file may be called."""
        if not rules.replies.filename:
            return PASS
        found: list[Match] = []
        self._look_up(rules, partial(filename_steps, names, into=found), asker, [found])
        return self._verdict(asker, request, [found])

    def judge_body(
        self,
        rules: IcapRules,
        digests: Iterable[dict[str, str]],
        names: Sequence[str],
        request: HttpRequest,
        asker: Asker,
        validators: Callable[[], Sequence[bytes]],
    ) -> Verdict:
        """The verdict on a body, by the digests of each form in which it was seen.

        Args:
            rules: those to judge by.
            digests: of each form.
            names: what the file may be called.
            request: what it answers.
            asker: whose it is.
            validators: makes what tells the file from others of its site.
        """
        found: list[Match] = []
        steps = partial(_body_steps, digests, names, rules.replies, into=found)
        self._look_up(rules, steps, asker, [found])
        verdict = self._verdict(asker, request, [found])
        if found and rules.remembered is not None:
            remembered = rules.remembered
            self._keep(lambda: remembered.keep_file(_observed(request), validators(), found))
        return verdict

    def judge_part(
        self,
        rules: IcapRules,
        validators: Callable[[], Sequence[bytes]],
        request: HttpRequest,
        asker: Asker,
    ) -> Verdict:
        """The verdict on a part of a file, by what was found of the whole file before."""
        if rules.remembered is None or rules.remembered.store.is_empty:
            return PASS
        with _errors_as_no_verdict():
            found = rules.remembered.of_part(_observed(request), validators())
        return self._verdict(asker, request, [list(found)])

    def _keep(self, keep: Callable[[], None]) -> None:
        """Remember a verdict, which stands whether that works or not."""
        try:
            keep()
        except Exception as error:  # noqa: BLE001 (whatever it is: the verdict is given)
            what = f"a verdict cannot be remembered: {type(error).__name__}"
            self.monitor.met("lookup-failed", what)

    def _verdict(self, asker: Asker, request: HttpRequest, so_far: SoFar) -> Verdict:
        matches = found_so_far(so_far)
        if not matches:
            return PASS
        incident = self._new_incident()
        self._report(asker.client, request.method, incident, matches)
        return Verdict(blocks(matches), incident)


def _request_steps(request: HttpRequest, so_far: SoFar, matcher: Matcher) -> Steps[Findings]:
    """Everything that a request shows, each of its User-Agents included."""
    observed = Observed(request.method, request.uri, "", request.user_agent)
    found = yield from examination(observed, matcher, so_far)
    at_others: list[Match] = []
    so_far.append(at_others)
    # A server may look at any of them.
    for agent in request.more_agents:
        at_others += yield from matcher.user_agent_steps(agent)
    return found


def _body_steps(
    digests: Iterable[dict[str, str]],
    names: Sequence[str],
    classes: ReplyClasses,
    matcher: Matcher,
    into: list[Match],
) -> Steps[None]:
    for seen in digests:
        yield from digest_steps(seen, names, classes, matcher, into)


def _observed(request: HttpRequest) -> Observed:
    return Observed(request.method, request.uri)


def _before(rules: IcapRules, request: Observed, asker: Asker) -> Before:
    """What is known of a request by the replies to earlier ones."""
    if rules.remembered is None:
        return NOTHING
    with _errors_as_no_verdict():
        return rules.remembered.of_request(request, asker.client.encode())


@contextlib.contextmanager
def _errors_as_no_verdict() -> Iterator[None]:
    """A look-up that fails, whatever the reason, gives no verdict."""
    try:
        yield
    except NoVerdictError:
        raise
    except PackError as error:
        raise NoVerdictError("rule-damaged", str(error)) from None
    except Exception as error:  # noqa: BLE001 (whatever it is: `fail` answers)
        # The text may hold the value that caused it, so only the type is said.
        what = f"a look-up failed: {type(error).__name__}"
        raise NoVerdictError("lookup-failed", what) from None


def client_address(field: bytes) -> str:
    """The address in an X-Client-IP field, or nothing if it is none."""
    try:
        return str(ipaddress.ip_address(field.decode("ascii").strip()))
    except (UnicodeDecodeError, ValueError):
        return ""
