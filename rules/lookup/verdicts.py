"""What a request matches: its host, its URL, its server's address, its User-Agent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import msgspec

from inkgate.rules.canonical import Refused, canonical_address
from inkgate.rules.lookup.matcher import Match, Matcher
from inkgate.rules.lookup.observed import Observed
from inkgate.rules.lookup.steps import Steps, finish
from inkgate.rules.lookup.target import Target, parse_target


class Findings(NamedTuple):
    """Matches of a request, and which of its parts never need to be looked at again."""

    matches: tuple[Match, ...]
    clean_host: bool
    clean_server: bool
    clean_agent: bool


def examine(request: Observed, matcher: Matcher) -> Findings:
    """Look up everything that a request shows.

    Raises:
        PackError: the rule set is damaged.
    """
    return finish(examination(request, matcher), matcher.stretch)


def examination(request: Observed, matcher: Matcher) -> Steps[Findings]:
    """`examine` in steps."""
    target = parse_target(request.method, request.uri)
    at_host: tuple[Match, ...] = ()
    clean_host = False
    if target is not None:
        at_host, clean_host = yield from _host_steps(target, matcher)
    at_server, clean_server = yield from _server_steps(request.server, target, matcher)
    agent: tuple[Match, ...] = ()
    if request.user_agent:
        agent = yield from matcher.user_agent_steps(request.user_agent)
    found = tuple(_distinct((*at_host, *at_server, *agent)))
    return Findings(found, clean_host, clean_server, not agent)


def _host_steps(target: Target, matcher: Matcher) -> Steps[tuple[tuple[Match, ...], bool]]:
    found, needs_url = yield from matcher.host_steps(target.host, target.port, whole=target.whole)
    clean = not found and not needs_url
    if needs_url and target.url is not None:
        found += yield from matcher.url_steps(target.url)
    return found, clean


def _server_steps(
    server: str, target: Target | None, matcher: Matcher
) -> Steps[tuple[tuple[Match, ...], bool]]:
    if not server:
        return (), False
    try:
        address = canonical_address(server)
    except Refused:
        return (), False
    host, port = (target.host, target.port) if target is not None else (None, None)
    found, by_port = yield from matcher.server_steps(address, host, port)
    # A set with domain|ip rules asks for each pair of name and address.
    return found, not found and not by_port and not matcher.has_pairs


def _distinct(found: Iterable[Match]) -> Iterator[Match]:
    seen = set()
    for match in found:
        # A message need not carry UUIDs, so all of it tells two rules apart.
        key = (match.indicator_class, msgspec.json.encode(match.message))
        if key not in seen:
            seen.add(key)
            yield match
