"""What a request matches: its host, its URL, its server's address, its User-Agent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from rules.canonical import Host, Refused, canonical_address
from rules.live.observed import Observed
from rules.live.target import Target, parse_target
from rules.matcher import Match, Matcher


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
    target = parse_target(request.method, request.uri)
    at_host: tuple[Match, ...] = ()
    clean_host = False
    if target is not None:
        at_host, clean_host = _host_matches(target, matcher)
    at_server, clean_server = _server_matches(request.server, target and target.host, matcher)
    agent = matcher.user_agent(request.user_agent) if request.user_agent else ()
    found = tuple(_distinct((*at_host, *at_server, *agent)))
    return Findings(found, clean_host, clean_server, not agent)


def _host_matches(target: Target, matcher: Matcher) -> tuple[tuple[Match, ...], bool]:
    found, needs_url = matcher.host(target.host, target.port)
    clean = not found and not needs_url
    if needs_url and target.url is not None:
        found += matcher.url(target.url)
    return found, clean


def _server_matches(
    server: str, host: Host | None, matcher: Matcher
) -> tuple[tuple[Match, ...], bool]:
    if not server:
        return (), False
    try:
        address = canonical_address(server)
    except Refused:
        return (), False
    found = matcher.server_address(address, host)
    # A set with domain|ip rules asks for each pair of name and address.
    return found, not found and not matcher.has_pairs


def _distinct(found: Iterable[Match]) -> Iterator[Match]:
    seen = set()
    for match in found:
        key = (match.indicator_class, match.message.uuids())
        if key not in seen:
            seen.add(key)
            yield match
